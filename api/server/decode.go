package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/ringfence/ringfence/api"
)

// decode reads a JSON object into the struct that into points to, and reports every
// field that is unknown, given twice or of the wrong type. Nothing of the input is in
// what it reports: not even the name of an unknown field.
func decode(body []byte, into any) *refusal {
	d := json.NewDecoder(bytes.NewReader(body))
	first, err := d.Token()
	if err != nil {
		return badJSON(d)
	}
	if first != json.Delim('{') {
		return invalid(api.FieldError{Code: "wrong_type", Hint: "send a JSON object"})
	}
	target := fieldsOf(into)
	var problems []api.FieldError
	seen := map[string]bool{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return badJSON(d)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return badJSON(d)
		}
		name := key.(string) //nolint:errcheck,forcetypeassert // a key is a string
		switch field, ok := target[name]; {
		case !ok:
			problems = append(problems, api.FieldError{Code: "unknown_field", Hint: "known are: " + known(target)})
		case seen[name]:
			problems = append(problems, api.FieldError{Pointer: "/" + name, Code: "duplicate", Hint: "give it once"})
		case json.Unmarshal(raw, field.Addr().Interface()) != nil || string(raw) == "null":
			problems = append(problems, api.FieldError{Pointer: "/" + name, Code: "wrong_type", Hint: "this has to be a " + kindOf(field)})
		}
		seen[name] = true
	}
	if _, err := d.Token(); err != nil {
		return badJSON(d)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return badJSON(d)
	}
	if len(problems) > 0 {
		return invalid(problems...)
	}
	return nil
}

// fieldsOf returns the settable fields of a struct by their JSON names.
func fieldsOf(into any) map[string]reflect.Value {
	v := reflect.ValueOf(into).Elem()
	fields := make(map[string]reflect.Value, v.NumField())
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		fields[name] = v.Field(i)
	}
	return fields
}

func known(fields map[string]reflect.Value) string {
	var names []string
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func kindOf(v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		return v.Type().Elem().Kind().String()
	}
	return v.Kind().String()
}

func badJSON(d *json.Decoder) *refusal {
	r := *refuseJSON
	r.offset = d.InputOffset()
	return &r
}
