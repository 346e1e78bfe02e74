package server

import (
	"net/http"

	"github.com/gin-gonic/gin"
)

// DefaultMaxChanges is what Config.MaxChanges is unless it says otherwise: more than shares of one sync pay for.
const DefaultMaxChanges = 512

// reads are the calls with a body that change nothing.
var reads = map[string]bool{"/v1/links/check": true, "/v1/numbers/lookup": true, "/v1/policies/validate": true}

// ticket is a request's place among those that change something. The zero ticket is one for nothing.
type ticket struct {
	gate  *gate // nil for what changes nothing
	taken bool
}

// bound gives requests that may change something a ticket. It is taken once the body is there, so that
// callers who send slowly take up no place.
func (s *Server) bound(c *gin.Context) {
	if c.Request.Method != http.MethodPost || reads[c.FullPath()] {
		return
	}
	t := &arrivalOf(c).ticket
	t.gate = s.gate
	defer func() {
		if t.taken {
			t.gate.leave()
		}
	}()
	c.Next()
}

// admitted takes the ticket of a request whose body was read, if it has one. It refuses those for whom there is no room for long: they
// would be answered when nobody waits for it any more.
func admitted(c *gin.Context) error {
	t := &arrivalOf(c).ticket
	if t.gate == nil || t.taken {
		return nil
	}
	if err := t.gate.enter(c.Request.Context()); err != nil {
		return err
	}
	t.taken = true
	return nil
}
