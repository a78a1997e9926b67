package manual

import (
	"fmt"
	"strings"
)

// roff is a page in the language of man(7), as it grows.
type roff struct{ strings.Builder }

func (r *roff) title(name, date, source string) {
	fmt.Fprintf(r, ".TH %s 1 %s %s %s\n", quote(strings.ToUpper(name)), quote(date), quote(source), quote("User Commands"))
	r.WriteString(".nh\n.ad l\n") // commands and digests must not be hyphenated or stretched
}

func (r *roff) section(title string) { fmt.Fprintf(r, ".SH %s\n", quote(title)) }

func (r *roff) subsection(title string) { fmt.Fprintf(r, ".SS %s\n", quote(title)) }

// text writes a line that is escaped already.
func (r *roff) text(line string) { r.WriteString(line + "\n") }

// item writes a label, escaped already, and what it means.
func (r *roff) item(label, meaning string) {
	r.text(".TP\n" + label + "\n" + escape(strings.Join(strings.Fields(meaning), " ")))
}

// prose writes paragraphs, which empty lines separate. Indented lines are code.
func (r *roff) prose(text string) {
	for paragraph := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		if paragraph = strings.Trim(paragraph, "\n"); strings.HasPrefix(paragraph, "  ") || strings.HasPrefix(paragraph, "\t") {
			r.code(paragraph)
			continue
		}
		r.text(".PP\n" + escape(strings.TrimSpace(paragraph)))
	}
}

// code writes lines as they are.
func (r *roff) code(lines string) {
	r.text(".PP\n.RS 4\n.nf")
	for line := range strings.SplitSeq(strings.Trim(lines, "\n"), "\n") {
		r.text(escape(strings.TrimPrefix(strings.TrimPrefix(line, "  "), "\t")))
	}
	r.text(".fi\n.RE")
}

// bold and italic escape what they write.
func bold(text string) string { return `\fB` + escape(text) + `\fR` }

func italic(text string) string { return `\fI` + escape(text) + `\fR` }

// special are the characters that roff would take for its own: "-" would become
// a hyphen, which cannot be pasted into a shell, and quotes typographic ones.
var special = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`)

// escape writes text so that it appears as it is. A line must not begin with a
// dot; a quote at its beginning is escaped like all others.
func escape(text string) string {
	lines := strings.Split(special.Replace(text), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

// quote writes an argument of a macro.
func quote(text string) string { return `"` + strings.ReplaceAll(escape(text), `"`, `\(dq`) + `"` }
