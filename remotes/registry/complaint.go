package registry

import (
	"encoding/json"
)

// Complaint is what a registry says about a request that it refuses, in its own
// words: whoever shows them escapes and cuts them.
type Complaint struct{ Code, Message string }

// ComplaintIn reads the first error in the body of an answer, in the distribution
// spec's form ("Error Codes"). It is empty when the body has another form.
func ComplaintIn(body []byte) Complaint {
	var said struct{ Errors []Complaint }
	if json.Unmarshal(body, &said) != nil || len(said.Errors) == 0 {
		return Complaint{}
	}
	return said.Errors[0]
}

// String returns "code: message", or what there is of that.
func (c Complaint) String() string {
	if c.Code == "" || c.Message == "" {
		return c.Code + c.Message
	}
	return c.Code + ": " + c.Message
}
