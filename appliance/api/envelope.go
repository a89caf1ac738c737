package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/weir-ddos/weir/appliance/config/strict"
)

// envelope is every answer: success and one of values, value, object; or the error.
type envelope struct {
	Success bool   `json:"success"`
	Error   string `json:"error_text"`
	// Problems are the single problems of a configuration that was refused.
	Problems []strict.Problem `json:"problems,omitempty"`
	// Values is a list, Value a single value, Object a thing with fields. At most one is there.
	Values any `json:"values,omitempty"`
	Value  any `json:"value,omitempty"`
	Object any `json:"object,omitempty"`
	// Message is for people: what was done, and what to do next.
	Message string `json:"message,omitempty"`
	// Warning is something that did not go well beside a success.
	Warning string `json:"warning,omitempty"`
}

// failure is an error with an HTTP status.
type failure struct {
	status int
	err    error
}

func (f failure) Error() string { return f.err.Error() }
func (f failure) Unwrap() error { return f.err }

func fail(status int, format string, args ...any) error {
	return failure{status: status, err: fmt.Errorf(format, args...)}
}

// answer writes the envelope. Errors choose the status: what the client asked wrongly is 400, what was refused 409.
func answer(w http.ResponseWriter, e envelope, err error) {
	status := http.StatusOK
	e.Success = err == nil
	if err != nil {
		e.Error, status = err.Error(), http.StatusBadRequest
		var f failure
		var problems strict.Problems
		switch {
		case errors.As(err, &f):
			status = f.status
		case errors.Is(err, ErrNotFound):
			status = http.StatusNotFound
		case errors.Is(err, ErrRefused):
			status = http.StatusConflict
		}
		if errors.As(err, &problems) {
			e.Problems = problems
		}
	}
	text := texts.Get().(*bytes.Buffer)
	defer keep(text)
	if err := json.NewEncoder(text).Encode(e); err != nil { // a NaN in a rate, say; the reader gets to know
		status = http.StatusInternalServerError
		text.Reset()
		_ = json.NewEncoder(text).Encode(envelope{Error: "the answer cannot be written: " + err.Error()})
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(text.Bytes()) // the client may be gone
}

// texts are buffers for answers: whoever watches the appliance asks for the same again and again.
var texts = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// keptText is the largest buffer that is kept for later answers.
const keptText = 1 << 20

func keep(text *bytes.Buffer) {
	if text.Cap() <= keptText {
		text.Reset()
		texts.Put(text)
	}
}

// list is a Values that is [] and not null when there is nothing.
func list[T any](v []T) envelope {
	if v == nil {
		v = []T{}
	}
	return envelope{Values: v}
}
