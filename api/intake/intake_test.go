package intake

import (
	"crypto/rand"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/hashing"
)

func TestDecodeReportsEveryField(t *testing.T) {
	var req api.AssessmentRequest
	err := Decode([]byte(`{"phone_number":12025550143,"12025550143":1,"event":"signup","event":"x","verified":null,"Event":"y"}`), &req)
	var fields Fields
	if !errors.As(err, &fields) {
		t.Fatal(err)
	}
	var got []string
	for _, f := range fields {
		got = append(got, f.Pointer+" "+f.Code)
	}
	want := "/phone_number wrong_type,  unknown_field, /event duplicate, /verified wrong_type,  unknown_field"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %q, want %q", strings.Join(got, ", "), want)
	}
	if strings.Contains(err.Error(), "555") {
		t.Error("the error repeats what was sent")
	}
}

func TestDecodeSaysWhereJSONEnds(t *testing.T) {
	for text, offset := range map[string]int64{`{"event":`: 9, ``: 0, `{"a":1}{`: 8} {
		var broken *NotJSON
		if err := Decode([]byte(text), &api.AssessmentRequest{}); !errors.As(err, &broken) || broken.Offset != offset {
			t.Errorf("%s: %v, want offset %d", text, err, offset)
		}
	}
}

func TestDecodeRefusesDeepNests(t *testing.T) {
	nest := func(n int) []byte {
		return []byte(`{"x":` + strings.Repeat("[", n-1) + `"[[[[[[[[[[[[[[[[[[\"[["` + strings.Repeat("]", n-1) + `}`)
	}
	var fields Fields
	if err := Decode(nest(maxDepth), &api.AssessmentRequest{}); !errors.As(err, &fields) {
		t.Errorf("as deep as allowed: %v", err)
	}
	var broken *NotJSON
	if err := Decode(nest(maxDepth+1), &api.AssessmentRequest{}); !errors.As(err, &broken) || !broken.Deep || broken.Offset != 5+maxDepth-1 {
		t.Errorf("deeper: %v", err)
	}
}

func TestEvent(t *testing.T) {
	ring, err := hashing.NewKeyring(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	h, err := ring.Domain(hashing.DefaultDomain)
	if err != nil {
		t.Fatal(err)
	}
	_, _, _, err = Event(h, &api.AssessmentRequest{
		IP: "300.1.1.1", IPCountry: "de", DefaultRegion: "XX", AccountID: strings.Repeat("a", 257), DeviceID: strings.Repeat("d", 257), Verified: true,
	})
	for _, want := range []string{
		"event missing", "ip format", "ip_country format", "account_id too_long", "device_id too_long", "default_region unknown_value", "verified needs_more",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	ev, _, why, err := Event(h, &api.AssessmentRequest{Event: "signup", PhoneNumber: "12"})
	if err != nil || !errors.Is(why, hashing.ErrInvalidNumber) || ev.Number.Valid || !ev.Number.Given || ev.Subjects[hashing.Phone].Given() {
		t.Errorf("an invalid number: %v, %v, %v", ev, why, err)
	}
	ev, _, why, err = Event(h, &api.AssessmentRequest{Event: "signup"})
	if err != nil || why != nil || ev.Number.Given {
		t.Errorf("no number: %v, %v, %v", ev, why, err)
	}
}

func TestATokenStandsForItsNumber(t *testing.T) {
	ring, err := hashing.NewKeyring(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	h, err := ring.Domain(hashing.DefaultDomain)
	if err != nil {
		t.Fatal(err)
	}
	n, err := hashing.Parse("+1 202 555 0143", "")
	if err != nil {
		t.Fatal(err)
	}
	token := h.Phone(n).Token()
	ev, _, _, err := Event(h, &api.AssessmentRequest{Event: "verification", PhoneToken: token, AccountID: "a", Verified: true})
	if err != nil || ev.Subjects[hashing.Phone] != h.Phone(n) || ev.Subjects[hashing.Range].Given() || ev.Number.Given || !ev.Claims() {
		t.Errorf("%+v, %v", ev, err)
	}
	for want, req := range map[string]api.AssessmentRequest{
		"phone_token format":     {Event: "signup", PhoneToken: h.Range(n).Token()},
		"event missing":          {PhoneToken: "k1.x"},
		"phone_token unexpected": {Event: "signup", PhoneToken: token, PhoneNumber: "+12025550143"},
		"ip format (an IPv4 or IPv6 address); phone_token format": {Event: "signup", PhoneToken: "k1.x", IP: "x"},
	} {
		if _, _, _, err := Event(h, &req); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// FuzzDecode holds that no input panics and that no run of planted digits comes back.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"phone_number":"+1 202 555 0143","event":"signup"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, text := range [][]byte{b, []byte(`{"` + string(b) + `20255501432025550143":1}`)} {
			var req api.AssessmentRequest
			if err := Decode(text, &req); err != nil && strings.Contains(err.Error(), "2025550143") {
				t.Errorf("the error repeats what was sent: %v", err)
			}
			sameReading(t, text)
		}
	})
}

// sameReading holds that the short way reads what the long way reads, or nothing.
func sameReading(t *testing.T, text []byte) {
	t.Helper()
	var short, long api.AssessmentRequest
	s := shapeOf(&short)
	if !plain(text, s, reflect.ValueOf(&short).Elem()) {
		return
	}
	if err := decode(text, s, reflect.ValueOf(&long).Elem()); err != nil || short != long {
		t.Errorf("read in two ways: %v", err)
	}
}

func TestPlainReadsWhatCallersSend(t *testing.T) {
	text := []byte(" {\"phone_number\" : \"+1 202 555 0143\",\n\"event\":\"signup\",\"verified\":true, \"account_id\":\"\u00e9\"} ")
	var req api.AssessmentRequest
	if !plain(text, shapeOf(&req), reflect.ValueOf(&req).Elem()) || !req.Verified || req.AccountID != "\u00e9" || req.PhoneNumber != "+1 202 555 0143" {
		t.Error("the usual object is not read the short way")
	}
	sameReading(t, text)
}

func BenchmarkDecode(b *testing.B) {
	text := []byte(`{"phone_number":"+1 202 555 0143","event":"signup","account_id":"u_81","ip":"203.0.113.7","device_id":"d_5"}`)
	b.ReportAllocs()
	for b.Loop() {
		var req api.AssessmentRequest
		if err := Decode(text, &req); err != nil {
			b.Fatal(err)
		}
	}
}
