package server

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ringfence/ringfence/api/access"
	"github.com/ringfence/ringfence/api/audit"
	"github.com/ringfence/ringfence/hashing"
)

// note says what a call changed. A call that says nothing changed nothing.
func note(ctx context.Context, object, before, after string) {
	if v := visitOf(ctx); v != nil {
		v.did = append(v.did, deed{object, before, after})
	}
}

// objectOf returns what the audit may say of a subject.
func objectOf(s hashing.Subject) string { return audit.Object(s.Token()) }

func entryOf(caller *access.Caller, did string, d deed) audit.Entry {
	who := "loopback"
	if caller != nil {
		who = "key:" + caller.ID
	}
	return audit.Entry{Who: who, Did: did, Object: d.object, Before: d.before, After: d.after}
}

// audited runs a call that changes something, and lets its answer out when what it did is in the audit
// and on the disk. A call whose entry cannot be written is answered with 503, and from then on all such
// calls are, before they do anything.
func (s *Server) audited(c *gin.Context, r route, v *visit) {
	if err := s.cfg.Audit.Healthy(); err != nil {
		s.refuse(c, refuseAudit)
		return
	}
	h := &held{ResponseWriter: c.Writer, status: http.StatusOK}
	c.Writer = h
	defer h.settle()
	finished := false
	defer func() {
		c.Writer = h.ResponseWriter
		if !finished {
			v.did = append(v.did, deed{after: "failed half way"}) // it panics on
		}
		for _, d := range v.did {
			if err := s.cfg.Audit.Append(entryOf(v.caller, r.did, d)); err != nil {
				s.cfg.Log.Error("the audit log cannot be written: what would have to be in it is refused until the server is started again", "error", err.Error())
				if finished {
					s.refuse(c, refuseAudit)
				}
				return
			}
		}
		if finished {
			_ = http.NewResponseController(h.ResponseWriter).SetWriteDeadline(time.Now().Add(s.writeTimeout)) // that of a stream begins here
			h.release()
		}
	}()
	c.Next()
	if h.status >= http.StatusInternalServerError {
		v.did = append(v.did, deed{after: "failed"})
	}
	finished = true
}

// held keeps an answer back. Answers of calls that are audited are small.
type held struct {
	gin.ResponseWriter
	status int
	body   bytes.Buffer
	after  func() // what there is to wait for once the answer is let out; or nil
}

func (h *held) Write(b []byte) (int, error)       { return h.body.Write(b) }
func (h *held) WriteString(s string) (int, error) { return h.body.WriteString(s) }
func (h *held) WriteHeader(status int)            { h.status = status }
func (h *held) WriteHeaderNow()                   {}
func (h *held) Flush()                            {}
func (h *held) Status() int                       { return h.status }
func (h *held) Size() int                         { return h.body.Len() }
func (h *held) Written() bool                     { return h.body.Len() > 0 }

// Unwrap is for http.ResponseController.
func (h *held) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// release lets the answer out.
func (h *held) release() {
	h.ResponseWriter.WriteHeader(h.status)
	_, _ = h.ResponseWriter.Write(h.body.Bytes())
}

// settle waits, once the answer was let out, for what there is to wait for. After a panic there is no answer yet, and none is begun.
func (h *held) settle() {
	if h.after == nil {
		return
	}
	if h.ResponseWriter.Written() {
		h.ResponseWriter.Flush()
	}
	h.after()
}
