package registry

import (
	"encoding/json"
)

// Complaint is a registry's own explanation of why it refuses a request.
// Callers that show it escape and shorten it.
type Complaint struct {
	Code    string `json:"code"`
	Message string `json:"message,omitempty"`
	Detail  any    `json:"detail,omitempty"` // as encoding/json decodes it
}

// ComplaintsIn reads the errors in the body of an answer, in the distribution
// spec's form ("Error Codes"). There are none when the body has another form.
func ComplaintsIn(body []byte) []Complaint {
	var said struct{ Errors []Complaint }
	if json.Unmarshal(body, &said) != nil {
		return nil
	}
	return said.Errors
}

// ComplaintIn is the first of [ComplaintsIn]; empty when there is none.
func ComplaintIn(body []byte) Complaint {
	if all := ComplaintsIn(body); len(all) > 0 {
		return all[0]
	}
	return Complaint{}
}

// String returns "code: message", or one of them where the other is missing.
func (c Complaint) String() string {
	if c.Code == "" || c.Message == "" {
		return c.Code + c.Message
	}
	return c.Code + ": " + c.Message
}
