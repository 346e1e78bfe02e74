package server

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/api/intake"
	"github.com/ringfence/ringfence/engine"
	"github.com/ringfence/ringfence/scoring"
)

// Sizes of pages.
const (
	policyPage  = 50
	historyPage = 100
)

var refuseIfMatch = &refusal{status: http.StatusPreconditionRequired, code: "if-match", title: "Send the version that is live, in quotes, as If-Match"}

// version reads the parameter of a path: ErrUnknownPolicy for anything but a number.
func version(path string) (uint32, error) {
	n, err := strconv.ParseUint(path, 10, 32)
	if err != nil || n == 0 || path[0] == '0' {
		return 0, engine.ErrUnknownPolicy
	}
	return uint32(n), nil
}

// author is who asks: the id of the key, engine.Local where nobody needs one.
func (j *job) author() string {
	if c := callerOf(j.ctx); c != nil {
		return c.ID
	}
	return engine.Local
}

// policies answers with a page of versions.
func (s *Server) policies(c *gin.Context) {
	page, err := s.policyPage(c)
	if err != nil {
		s.refuse(c, err)
		return
	}
	c.Header("ETag", `"`+strconv.FormatUint(uint64(page.Live), 10)+`"`)
	c.Data(http.StatusOK, "application/json", encode(page))
}

func (s *Server) policyPage(c *gin.Context) (*api.PolicyPage, error) {
	ctx, before := c.Request.Context(), uint32(0)
	if cursor := c.Query("cursor"); cursor != "" {
		var err error
		if before, err = version(cursor); err != nil {
			return nil, invalid(api.FieldError{Pointer: "/cursor", Code: "format", Hint: "send a cursor as it came"})
		}
	}
	state, err := s.space(ctx).Engine.PolicyState(ctx)
	if err != nil {
		return nil, err
	}
	versions, err := s.space(ctx).Engine.Policies(ctx, before, policyPage)
	if err != nil {
		return nil, err
	}
	history, err := s.space(ctx).Engine.Rollouts(ctx, 0, historyPage)
	if err != nil {
		return nil, err
	}
	page := &api.PolicyPage{Live: state.Live, Shadows: append([]uint32{}, state.Shadows...), Versions: []api.PolicyVersion{}, History: []api.Rollout{}}
	for i := range versions {
		page.Versions = append(page.Versions, wirePolicy(&versions[i], state))
	}
	if n := len(versions); n == policyPage && versions[n-1].Version > 1 {
		page.Cursor = strconv.FormatUint(uint64(versions[n-1].Version), 10)
	}
	for _, r := range history {
		page.History = append(page.History, api.Rollout{
			Number: r.Number, Change: r.Kind.String(), Version: r.Version, Replaces: r.Replaces, At: timeText(r.At), Author: r.Author, Note: r.Note,
		})
	}
	return page, nil
}

// wirePolicy says of a version what every list of them says.
func wirePolicy(v *engine.PolicyVersion, state *engine.PolicyState) api.PolicyVersion {
	out := api.PolicyVersion{
		Version: v.Version, State: "stored", AddedAt: timeText(v.Added), Author: v.Author, Note: v.Note, EqualTo: v.Of,
		Digest: scoring.DigestOf(v.Source), Name: scoring.NameOf(v.Source),
	}
	switch {
	case v.Version == state.Live:
		out.State = "live"
	case slices.Contains(state.Shadows, v.Version):
		out.State = "shadow"
	}
	return out
}

// policy answers with one version.
func (s *Server) policy(c *gin.Context) {
	answer, err := s.onePolicy(c)
	if err != nil {
		s.refuse(c, err)
		return
	}
	c.Data(http.StatusOK, "application/json", encode(answer))
}

func (s *Server) onePolicy(c *gin.Context) (*api.PolicyVersion, error) {
	n, err := version(c.Param("version"))
	if err != nil {
		return nil, err
	}
	ctx := c.Request.Context()
	state, err := s.space(ctx).Engine.PolicyState(ctx)
	if err != nil {
		return nil, err
	}
	v, err := s.space(ctx).Engine.PolicyVersion(ctx, n)
	if err != nil {
		return nil, err
	}
	out := wirePolicy(v, state)
	out.Source = string(v.Source)
	if p, err := scoring.Compile(v.Source); err == nil { // one of an older program may not compile any more
		out.Changes = s.differs(ctx, p)
	}
	calibration, err := s.space(ctx).Engine.Calibration(ctx, n)
	if err != nil {
		return nil, err
	}
	out.Calibration = wireCalibration(calibration)
	return &out, nil
}

// differs says what becomes different when a policy replaces the live one.
func (s *Server) differs(ctx context.Context, p *scoring.Policy) []string {
	live, _ := s.space(ctx).Engine.Live()
	return append([]string{}, scoring.Diff(live, p)...)
}

func wireCalibration(c *engine.Calibration) *api.Calibration {
	if c == nil {
		return nil
	}
	out := &api.Calibration{At: timeText(c.At), Author: c.Author, Digest: c.Digest}
	for _, b := range c.Bands {
		out.Bands = append(out.Bands, api.CalibrationBand(b))
	}
	return out
}

// draft is a policy on its way in.
type draft struct {
	policy *scoring.Policy
	note   string
}

// readCheck reads a policy that need not be kept.
func (s *Server) readCheck(_ *job, req *api.PolicyRequest) (in draft, err error) {
	in.note = req.Note
	if req.Source == "" {
		return in, intake.Fields{{Pointer: "/source", Code: "missing"}}
	}
	in.policy, err = scoring.Compile([]byte(req.Source))
	return in, err
}

func (s *Server) checkPolicy(j *job, in draft) (any, error) {
	digest := in.policy.Digest()
	answer := api.PolicyCheck{Name: in.policy.Name(), Digest: hex.EncodeToString(digest[:]), Signals: []string{}, Changes: s.differs(j.ctx, in.policy)}
	for _, i := range in.policy.SignalOrder() {
		answer.Signals = append(answer.Signals, in.policy.Signals()[i].Name)
	}
	return answer, nil
}

// readPolicy reads a policy to keep, which has a note.
func (s *Server) readPolicy(j *job, req *api.PolicyRequest) (draft, error) {
	in, err := s.readCheck(j, req)
	if engine.CheckNote(in.note) {
		return in, err
	}
	bad := explain(engine.ErrNote).fields
	if err != nil {
		bad = append(bad, explain(err).fields...)
	}
	return in, intake.Fields(bad)
}

func (s *Server) addPolicy(j *job, in draft) (any, error) {
	v := &engine.PolicyVersion{Source: in.policy.Source(), Author: j.author(), Note: in.note}
	answer := func() any { return wirePolicy(v, &engine.PolicyState{}) }
	j.remember(answer)
	if _, err := s.space(j.ctx).Engine.AddPolicy(j.ctx, v, j.once); err != nil {
		return nil, err
	}
	note(j.ctx, "", "", fmt.Sprintf("version %d added", v.Version))
	return answer(), nil
}

// rollout is a change on its way in.
type rollout struct {
	version uint32
	end     bool
	change  engine.Change
}

func readNote(j *job, note string) (in rollout, err error) {
	if in.version, err = version(j.path); err != nil {
		return in, err
	}
	in.change = engine.Change{Author: j.author(), Note: note}
	if !engine.CheckNote(note) {
		return in, engine.ErrNote
	}
	return in, nil
}

func (s *Server) readRollout(j *job, req *api.RolloutRequest) (rollout, error) {
	in, err := readNote(j, req.Note)
	if err != nil {
		return in, err
	}
	match := j.match
	if len(match) < 3 || match[0] != '"' || match[len(match)-1] != '"' {
		return in, refuseIfMatch
	}
	if in.change.Replaces, err = version(match[1 : len(match)-1]); err != nil {
		return in, refuseIfMatch
	}
	return in, nil
}

func (s *Server) readShadow(j *job, req *api.ShadowRequest) (rollout, error) {
	in, err := readNote(j, req.Note)
	in.end = req.End
	return in, err
}

func (s *Server) publish(j *job, in rollout) (any, error) {
	return s.rollOut(j, &in.version, func() error {
		in.change.Once = j.once
		return s.space(j.ctx).Engine.Publish(j.ctx, in.version, in.change)
	}, func(a *api.RolloutAnswer) {
		a.Live, a.Shadows = in.version, slices.DeleteFunc(a.Shadows, func(v uint32) bool { return v == in.version })
	})
}

func (s *Server) rollBack(j *job, in rollout) (any, error) {
	var r engine.Rollout
	return s.rollOut(j, &r.Version, func() error {
		in.change.Once = j.once
		return s.space(j.ctx).Engine.RollBack(j.ctx, in.version, in.change, &r)
	}, func(a *api.RolloutAnswer) { a.Live = r.Version })
}

func (s *Server) shadow(j *job, in rollout) (any, error) {
	return s.rollOut(j, &in.version, func() error {
		in.change.Once = j.once
		return s.space(j.ctx).Engine.Shadow(j.ctx, in.version, !in.end, in.change)
	}, func(a *api.RolloutAnswer) {
		a.Shadows = slices.DeleteFunc(a.Shadows, func(v uint32) bool { return v == in.version })
		if !in.end {
			a.Shadows = append(a.Shadows, in.version)
			slices.Sort(a.Shadows)
		}
	})
}

// rollOut makes a change. The answer that is remembered with it is made of what was in force before, since it is rendered during the commit.
func (s *Server) rollOut(j *job, version *uint32, change func() error, after func(*api.RolloutAnswer)) (any, error) {
	state, err := s.space(j.ctx).Engine.PolicyState(j.ctx)
	if err != nil {
		return nil, err
	}
	j.remember(func() any {
		answer := &api.RolloutAnswer{Version: *version, Live: state.Live, Shadows: append([]uint32{}, state.Shadows...)}
		after(answer)
		return answer
	})
	if err := change(); err != nil {
		return nil, err
	}
	before := inForce(state)
	if state, err = s.space(j.ctx).Engine.PolicyState(j.ctx); err != nil {
		note(j.ctx, "", before, "changed")
		return nil, err
	}
	note(j.ctx, "", before, inForce(state))
	return &api.RolloutAnswer{Version: *version, Live: state.Live, Shadows: append([]uint32{}, state.Shadows...)}, nil
}

// inForce says for the audit which versions are.
func inForce(state *engine.PolicyState) string {
	text := fmt.Sprintf("version %d live", state.Live)
	for _, v := range state.Shadows {
		text += fmt.Sprintf(", %d in shadow", v)
	}
	return text
}

// calibrating is a backtest whose probabilities are to be stored.
type calibrating struct {
	version           uint32
	calibration       engine.Calibration
	abuse, legitimate uint64
}

func (s *Server) readCalibration(j *job, req *api.CalibrationRequest) (in calibrating, err error) {
	if in.version, err = version(j.path); err != nil {
		return in, err
	}
	v, err := s.space(j.ctx).Engine.PolicyVersion(j.ctx, in.version)
	if err != nil {
		return in, err
	}
	r, err := s.jobs.result(s.space(j.ctx), req.Backtest)
	if err != nil {
		return in, err
	}
	if r.PolicyDigest != scoring.DigestOf(v.Source) {
		return in, refuseOtherBacktest
	}
	in.abuse, in.legitimate = r.Abuse, r.Legitimate
	in.calibration = engine.Calibration{Author: j.author(), Digest: r.Digest}
	for _, b := range r.Calibration {
		in.calibration.Bands = append(in.calibration.Bands, engine.CalibrationBand(b))
	}
	return in, nil
}

func (s *Server) calibrate(j *job, in calibrating) (any, error) {
	j.remember(func() any { return wireCalibration(&in.calibration) })
	err := s.space(j.ctx).Engine.Calibrate(j.ctx, in.version, &in.calibration, in.abuse, in.legitimate, j.once)
	if err == nil {
		note(j.ctx, "", "", fmt.Sprintf("version %d calibrated on %d labels", in.version, in.abuse+in.legitimate))
	}
	return wireCalibration(&in.calibration), err
}
