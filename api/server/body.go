package server

import (
	"io"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

// body reads a request's body within its bound.
func body(c *gin.Context) ([]byte, error) {
	if t := c.ContentType(); t != "" && t != "application/json" {
		return nil, refuseMedia
	}
	most := int64(maxBody)
	if p := c.FullPath(); strings.HasPrefix(p, "/v1/policies") || strings.HasPrefix(p, "/v1/backtests") {
		most = maxPolicyBody
	}
	b, err := readAll(c.Request, most)
	if err != nil {
		return nil, unread(err)
	}
	if int64(len(b)) > most {
		if most > maxBody {
			return nil, refuseLargePolicy
		}
		return nil, refuseTooLarge
	}
	return b, admitted(c)
}

// readAll reads a body up to its bound and one byte beyond. Nearly every request says how long it is, and is read into
// as much memory as that.
func readAll(r *http.Request, most int64) ([]byte, error) {
	if n := r.ContentLength; n >= 0 && n <= most {
		b := make([]byte, n)
		_, err := io.ReadFull(r.Body, b)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return b, err
	}
	return io.ReadAll(io.LimitReader(r.Body, most+1))
}
