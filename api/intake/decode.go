package intake

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/ringfence/ringfence/api"
)

// Fields are what is wrong with the fields of a request: where, what, and what to do,
// never what was sent.
type Fields []api.FieldError

// Error lists the fields in one line.
func (f Fields) Error() string {
	var parts []string
	for _, e := range f {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s %s (%s)", strings.TrimPrefix(e.Pointer, "/"), e.Code, e.Hint)))
	}
	return strings.Join(parts, "; ")
}

// NotJSON says where a text stops being JSON, or nests too deep.
type NotJSON struct {
	Offset int64 // in bytes
	Deep   bool
}

// Error says where, and quotes nothing.
func (e *NotJSON) Error() string {
	if e.Deep {
		return fmt.Sprintf("it nests deeper than %d levels at byte %d", maxDepth, e.Offset)
	}
	return fmt.Sprintf("it stops being JSON at byte %d", e.Offset)
}

// maxDepth is how deep arrays and objects may nest.
const maxDepth = 16

// tooDeep returns where a text nests too deep, and -1 for one that does not.
func tooDeep(text []byte) int64 {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == '{' || c == '['):
			if depth++; depth > maxDepth {
				return int64(i)
			}
		case !quoted && (c == '}' || c == ']'):
			depth--
		}
	}
	return -1
}

// Decode reads one JSON object into the struct that into points to, emptied before. It returns
// a *NotJSON, or Fields with every field that is unknown, given twice or of the wrong
// type. Names are case-sensitive; null is no value. Nothing of the input is in what it
// returns: not even the name of an unknown field.
func Decode(text []byte, into any) error {
	s, v := shapeOf(into), reflect.ValueOf(into).Elem()
	if plain(text, s, v) {
		return nil
	}
	v.SetZero()
	return decode(text, s, v)
}

// decode reads an object and says everything that is wrong with it.
func decode(text []byte, s *shape, into reflect.Value) error {
	if at := tooDeep(text); at >= 0 {
		return &NotJSON{Offset: at, Deep: true}
	}
	d := json.NewDecoder(bytes.NewReader(text))
	first, err := d.Token()
	if err != nil {
		return notJSON(d)
	}
	if first != json.Delim('{') {
		return Fields{{Code: "wrong_type", Hint: "send a JSON object"}}
	}
	o := object{shape: s, into: into}
	for d.More() {
		if err := o.member(d); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return notJSON(d)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return notJSON(d)
	}
	if len(o.bad) > 0 {
		return o.bad
	}
	return nil
}

// Split returns the items of a JSON array, of at most `most`, as they are: what kind of
// value each is, Decode says. The error is a *NotJSON or Fields.
func Split(text []byte, most int) ([]json.RawMessage, error) {
	if at := tooDeep(text); at >= 0 {
		return nil, &NotJSON{Offset: at, Deep: true}
	}
	d := json.NewDecoder(bytes.NewReader(text))
	first, err := d.Token()
	if err != nil {
		return nil, notJSON(d)
	}
	if first != json.Delim('[') {
		return nil, Fields{{Code: "wrong_type", Hint: "send a JSON array"}}
	}
	items := []json.RawMessage{}
	for d.More() {
		var item json.RawMessage
		if err := d.Decode(&item); err != nil {
			return nil, notJSON(d)
		}
		if len(items) == most {
			return nil, Fields{{Code: "too_many", Hint: fmt.Sprintf("at most %d items", most)}}
		}
		items = append(items, item)
	}
	if _, err := d.Token(); err != nil {
		return nil, notJSON(d)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, notJSON(d)
	}
	return items, nil
}

// Of returns the fields as those of an item of an array.
func (f Fields) Of(i int) Fields {
	all := slices.Clone(f)
	for n := range all {
		all[n].Pointer = fmt.Sprintf("/%d%s", i, all[n].Pointer)
	}
	return all
}

// object is a struct that is being filled.
type object struct {
	*shape
	into reflect.Value
	seen uint64 // a bit for each field of the shape
	bad  Fields
}

// member reads one name and its value.
func (o *object) member(d *json.Decoder) error {
	key, err := d.Token()
	if err != nil {
		return notJSON(d)
	}
	var raw json.RawMessage
	if err := d.Decode(&raw); err != nil {
		return notJSON(d)
	}
	name := key.(string) //nolint:forcetypeassert // a key is a string
	at, known := o.fields[name]
	if !known {
		o.bad = append(o.bad, api.FieldError{Code: "unknown_field", Hint: "known are: " + o.names})
		return nil
	}
	field := o.into.FieldByIndex(at.index)
	switch {
	case o.seen&at.bit != 0:
		o.bad = append(o.bad, api.FieldError{Pointer: "/" + name, Code: "duplicate", Hint: "give it once"})
	case string(raw) == "null" || json.Unmarshal(raw, field.Addr().Interface()) != nil:
		o.bad = append(o.bad, api.FieldError{Pointer: "/" + name, Code: "wrong_type", Hint: "this has to be a " + at.of.String()})
	}
	o.seen |= at.bit
	return nil
}

func notJSON(d *json.Decoder) error { return &NotJSON{Offset: d.InputOffset()} }

// shape is what Decode knows of a type.
type shape struct {
	fields map[string]place
	names  string // of all fields, for hints
}

// place is where a field is.
type place struct {
	index   []int
	bit     uint64
	of      reflect.Kind // of the value, behind the pointer
	pointer bool
}

var shapes sync.Map // from reflect.Type to *shape

func shapeOf(into any) *shape {
	t := reflect.TypeOf(into).Elem()
	if s, ok := shapes.Load(t); ok {
		return s.(*shape) //nolint:forcetypeassert // nothing else is stored
	}
	s, _ := shapes.LoadOrStore(t, newShape(t))
	return s.(*shape) //nolint:forcetypeassert // nothing else is stored
}

// newShape looks at a struct of at most 64 fields, embedded ones included.
func newShape(t reflect.Type) *shape {
	s := &shape{fields: map[string]place{}}
	var names []string
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		p := place{index: f.Index, bit: 1 << len(names), of: f.Type.Kind(), pointer: f.Type.Kind() == reflect.Pointer}
		if p.pointer {
			p.of = f.Type.Elem().Kind()
		}
		s.fields[name] = p
		names = append(names, name)
	}
	slices.Sort(names)
	s.names = strings.Join(names, ", ")
	return s
}
