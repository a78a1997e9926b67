package login

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// object is a JSON object whose members keep their order and their values' bytes.
type object []member

type member struct {
	key   string
	value json.RawMessage
}

var errNotObject = errors.New("it is not a JSON object")

// parseObject reads an object. Empty text is an empty one, as docker has it.
func parseObject(data []byte) (object, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, nil
	}
	if !json.Valid(data) {
		return nil, errNotObject
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if begin, err := d.Token(); err != nil || begin != json.Delim('{') {
		return nil, errNotObject
	}
	var o object
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		m := member{key: key.(string)} // what is valid has no other
		if err := d.Decode(&m.value); err != nil {
			return nil, err
		}
		o = append(o, m)
	}
	return o, nil
}

// find returns the position of a member, by a key that is read in any case, as
// encoding/json does; -1 for none. Of several the last counts.
func (o object) find(key string) int {
	for i := len(o) - 1; i >= 0; i-- {
		if strings.EqualFold(o[i].key, key) {
			return i
		}
	}
	return -1
}

// get decodes a member into a value; one that is missing leaves it.
func (o object) get(key string, value any) error {
	i := o.find(key)
	if i < 0 {
		return nil
	}
	return json.Unmarshal(o[i].value, value)
}

// inner returns an object that is a member.
func (o object) inner(key string) (object, error) {
	i := o.find(key)
	if i < 0 || string(o[i].value) == "null" {
		return nil, nil
	}
	return parseObject(o[i].value)
}

// set replaces the value of the member of exactly that key, of several the last, or
// adds one.
func (o *object) set(key string, value json.RawMessage) {
	for i := range slices.Backward(*o) {
		if (*o)[i].key == key {
			(*o)[i].value = value
			return
		}
	}
	*o = append(*o, member{key, value})
}

// remove removes members, and reports whether there were any.
func (o *object) remove(which func(key string) bool) bool {
	before := len(*o)
	*o = slices.DeleteFunc(*o, func(m member) bool { return which(m.key) })
	return len(*o) < before
}

// MarshalJSON implements [json.Marshaler].
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(m.key)
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(m.value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// text is the object as docker writes it, indented with tabs.
func (o object) text() ([]byte, error) {
	compact, err := o.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = json.Indent(&b, compact, "", "\t")
	return b.Bytes(), err
}
