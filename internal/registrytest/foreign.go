package registrytest

// ForeignText has what does something to a terminal, changes how other characters
// are shown, or is not shown: an escape sequence, C1 controls, a soft hyphen,
// an Arabic letter mark, a filler, a zero-width space and joiner, line and
// paragraph separators, overrides, isolates, a byte order mark, a tag, delete.
const ForeignText = "\x1b[31mred\a\r\u0085\u009b2J\u00ad\u061c\u115f\u200b\u200d\u2028\u2029\u202e\u2066\ufeff\U000e0041\x7f"
