package manifest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// whole checks that the text b of m has every field that is not marked omitempty. A
// field that is missing would otherwise mean its zero value, as "modified": false.
func (m *Manifest) whole(b []byte) error {
	var doc any
	if err := json.Unmarshal(b, &doc); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	if obj, ok := doc.(map[string]any); ok && m.Format == Format1 {
		obj["host"], obj["trust"] = []any{}, []any{} // not yet there
	}
	return has(reflect.TypeFor[Manifest](), doc, "")
}

// has compares a document with the type that it was read into.
func has(t reflect.Type, doc any, at string) error {
	switch t.Kind() {
	case reflect.Pointer:
		return has(t.Elem(), doc, at)
	case reflect.Slice:
		list, ok := doc.([]any)
		if !ok {
			return fmt.Errorf("manifest: %s is missing", at)
		}
		for i, e := range list {
			if err := has(t.Elem(), e, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case reflect.Struct:
		obj, ok := doc.(map[string]any)
		if !ok {
			return fmt.Errorf("manifest: %s is missing", at)
		}
		return hasFields(t, obj, at)
	default:
		if doc == nil {
			return fmt.Errorf("manifest: %s is missing", at)
		}
	}
	return nil
}

func hasFields(t reflect.Type, obj map[string]any, at string) error {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			if err := hasFields(f.Type, obj, at); err != nil {
				return err
			}
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		v, ok := obj[name]
		if !ok && options == "omitempty" {
			continue
		}
		if !ok {
			return fmt.Errorf("manifest: %s is missing", strings.TrimPrefix(at+"."+name, "."))
		}
		if err := has(f.Type, v, strings.TrimPrefix(at+"."+name, ".")); err != nil {
			return err
		}
	}
	return nil
}
