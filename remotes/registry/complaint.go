package registry

import (
	"encoding/json"
)

// Complaint is a registry's own explanation of why it refuses a request.
// Callers that show it escape and shorten it.
type Complaint struct{ Code, Message string }

// ComplaintIn reads the first error in the body of an answer, in the
// distribution spec's form ("Error Codes"). It is empty when the body has
// another form.
func ComplaintIn(body []byte) Complaint {
	var said struct{ Errors []Complaint }
	if json.Unmarshal(body, &said) != nil || len(said.Errors) == 0 {
		return Complaint{}
	}
	return said.Errors[0]
}

// String returns "code: message", or one of them where the other is missing.
func (c Complaint) String() string {
	if c.Code == "" || c.Message == "" {
		return c.Code + c.Message
	}
	return c.Code + ": " + c.Message
}
