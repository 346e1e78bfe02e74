package replay

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ringfence/ringfence/api"
	"github.com/ringfence/ringfence/api/intake"
)

// row is one line of input, not looked at yet. It formats as one fixed word,
// as the request in it does.
type row struct {
	api.AssessmentRequest
	ID         string `json:"id,omitempty"`
	OccurredAt string `json:"occurred_at,omitempty"`
	Outcome    string `json:"outcome,omitempty"`
	Label      string `json:"label,omitempty"`
	For        string `json:"for,omitempty"`
}

// texts are the fields of a row that a column of CSV or a constant can fill.
func (r *row) texts() map[string]*string {
	return map[string]*string{
		"id": &r.ID, "occurred_at": &r.OccurredAt, "event": &r.Event, "phone_number": &r.PhoneNumber,
		"default_region": &r.DefaultRegion, "account_id": &r.AccountID, "ip": &r.IP, "device_id": &r.DeviceID,
		"ip_country": &r.IPCountry, "outcome": &r.Outcome, "label": &r.Label, "for": &r.For,
	}
}

// Columns are the names that Input.Columns and Input.Constants may have.
func Columns() []string {
	names := []string{"verified"}
	for name := range new(row).texts() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// problem is why a line cannot be used, in words that hold nothing of it.
type problem struct{ code, text string }

func (p *problem) Error() string { return p.text }

// codeOf names a problem for the counts at the end.
func codeOf(err error) string {
	var fields intake.Fields
	var p *problem
	switch {
	case errors.As(err, &fields):
		return strings.TrimSpace(strings.TrimPrefix(fields[0].Pointer, "/") + " " + fields[0].Code)
	case errors.As(err, &p):
		return p.code
	default:
		return "malformed"
	}
}

// maxLine is the longest line in bytes.
const maxLine = 64 << 10

// Input is a file of events.
type Input struct {
	// From is NDJSON when its first byte that is no space is {, else CSV with a header.
	From io.Reader

	// Columns gives a field the name of its column, for CSV. A field that is
	// not in it has the column of its own name.
	Columns map[string]string

	// Constants fill fields of events that are not given.
	Constants map[string]string
}

// rows calls fn with every line: its number, and its row or what is wrong with
// it. The row is fn's only until it returns.
func (in *Input) rows(fn func(line int, r *row, err error) error) error {
	if err := in.check(); err != nil {
		return err
	}
	b := bufio.NewReaderSize(in.From, maxLine)
	if mark, _ := b.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		_, _ = b.Discard(3)
	}
	start, err := b.Peek(maxLine)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("cannot read the input: %w", err)
	}
	if start = bytes.TrimLeft(start, " \t\r\n"); len(start) == 0 {
		if err == nil {
			return errors.New("the input begins with 64 KiB of blank lines; take them away")
		}
		return nil
	}
	if start[0] != '{' {
		return in.csvRows(b, fn)
	}
	if len(in.Columns) > 0 {
		return errors.New("the input is NDJSON, which has no columns to map")
	}
	return in.jsonRows(b, fn)
}

// ErrNoField is a name in Input.Columns or Input.Constants that is none of Columns.
var ErrNoField = errors.New("there is no such field")

func (in *Input) check() error {
	for _, named := range []map[string]string{in.Columns, in.Constants} {
		for name := range named {
			if !slices.Contains(Columns(), name) {
				return fmt.Errorf("%w; known are: %s", ErrNoField, strings.Join(Columns(), ", "))
			}
		}
	}
	return nil
}

func (in *Input) jsonRows(b *bufio.Reader, fn func(int, *row, error) error) error {
	for n := 1; ; n++ {
		line, long, err := readLine(b)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("line %d: cannot read on: %w", n, err)
		}
		if len(bytes.TrimSpace(line)) == 0 && !long {
			continue
		}
		var r row
		bad := intake.Decode(line, &r)
		switch {
		case long:
			bad = &problem{"too_long", "longer than 64 KiB"}
		case bad == nil && r.Record != nil:
			bad = intake.Fields{{Pointer: "/record", Code: "unknown_field", Hint: "everything in a replay is counted"}}
		case bad == nil && r.PhoneToken != "":
			bad = intake.Fields{{Pointer: "/phone_token", Code: "unknown_field", Hint: "a replay has pseudonyms of its own: give the number"}}
		case bad == nil:
			bad = in.fill(&r)
		}
		if err := fn(n, &r, bad); err != nil {
			return err
		}
	}
}

// readLine returns a line, or says that it is too long and skips it.
func readLine(b *bufio.Reader) (line []byte, long bool, err error) {
	line, more, err := b.ReadLine()
	long = more
	for more && err == nil {
		_, more, err = b.ReadLine()
	}
	return line, long, err
}

// fill puts constants into the empty fields of an event.
func (in *Input) fill(r *row) error {
	if r.Outcome != "" || r.Label != "" && r.For != "" {
		return nil
	}
	texts := r.texts()
	for name, value := range in.Constants {
		if name == "verified" {
			if err := r.setVerified(value); err != nil {
				return err
			}
		} else if field := texts[name]; *field == "" {
			*field = value
		}
	}
	return nil
}

func (r *row) setVerified(text string) error {
	switch strings.ToLower(text) {
	case "true", "1", "y", "yes":
		r.Verified = true
	case "false", "0", "n", "no", "":
	default:
		return intake.Fields{{Pointer: "/verified", Code: "wrong_type", Hint: "true or false"}}
	}
	return nil
}

func (in *Input) csvRows(b *bufio.Reader, fn func(int, *row, error) error) error {
	c := csv.NewReader(b)
	c.ReuseRecord = true
	header, err := c.Read()
	if err != nil {
		return errors.New("line 1: this is no header of a CSV file")
	}
	columns, err := in.columns(header)
	if err != nil {
		return err
	}
	for {
		cells, err := c.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var malformed *csv.ParseError
		if err != nil && !errors.As(err, &malformed) {
			return fmt.Errorf("cannot read the input: %w", err)
		}
		var r row
		line := 0
		if malformed != nil {
			line, err = malformed.StartLine, csvProblem(malformed)
		} else {
			line, _ = c.FieldPos(0)
			err = in.fromCells(&r, columns, cells)
		}
		if err := fn(line, &r, err); err != nil {
			return err
		}
	}
}

func csvProblem(err *csv.ParseError) error {
	if errors.Is(err, csv.ErrFieldCount) {
		return &problem{"malformed", "another number of columns than the header has"}
	}
	return &problem{"malformed", "a quote in the wrong place"}
}

// columns returns the field of every column, "" for a column that is not used.
func (in *Input) columns(header []string) ([]string, error) {
	fields := make([]string, len(header))
	used := 0
	for _, field := range Columns() {
		name, mapped := in.Columns[field]
		if !mapped {
			name = field
		}
		at := slices.Index(header, name)
		switch {
		case at >= 0:
			fields[at] = field
			used++
		case mapped:
			return nil, fmt.Errorf("line 1: the header has no column for %s by the name that was given", field)
		}
	}
	if used == 0 {
		return nil, errors.New("line 1: no column of the header has a known name; name them with --map field=column")
	}
	return fields, nil
}

func (in *Input) fromCells(r *row, columns, cells []string) error {
	texts := r.texts()
	for i, field := range columns {
		switch field {
		case "":
		case "verified":
			if err := r.setVerified(cells[i]); err != nil {
				return err
			}
		default:
			*texts[field] = strings.Clone(cells[i])
		}
	}
	return in.fill(r)
}
