package management

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// object is one thing in JSON.
type object map[string]any

// Limits of a page.
const (
	pageSize    = 100
	maxPageSize = 500
)

// page is a list, or the part of it that is asked for: by name, sorted, of some columns, in pages.
func (r *request) page(list []object) (any, error) {
	q := r.URL.Query()
	total := len(list)
	if name := q.Get("name"); name != "" && q.Has("page") || q.Get("use_regex") == "true" {
		match, err := matcher(name, q.Get("use_regex") == "true")
		if err != nil {
			return nil, err
		}
		list = slices.DeleteFunc(slices.Clone(list), func(o object) bool { return !match(fmt.Sprint(o["name"])) })
	}
	if by := q.Get("sort"); by != "" {
		sortBy(list, by, q.Get("sort_reverse") == "true")
	}
	filtered := len(list)
	if !q.Has("page") {
		return r.eachColumns(list), nil
	}
	page, err := positive(q.Get("page"), 1)
	size, err2 := positive(cmp.Or(q.Get("page_size"), strconv.Itoa(pageSize)), pageSize)
	if err != nil || err2 != nil || size > maxPageSize {
		return nil, badRequest("page and page_size are numbers from 1 on, page_size up to 500")
	}
	pages := max(1, (filtered+size-1)/size)
	if page > pages {
		return nil, badRequest(fmt.Sprintf("page out of range, page %d has been requested but total pages is %d", page, pages))
	}
	from := (page - 1) * size
	items := list[from:min(filtered, from+size)]
	return object{
		"total_count": total, "item_count": len(items), "filtered_count": filtered,
		"page": page, "page_size": size, "page_count": pages, "items": r.eachColumns(items),
	}, nil
}

func positive(s string, otherwise int) (int, error) {
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(s)
	if err == nil && n < 1 {
		err = strconv.ErrRange
	}
	return n, err
}

// matcher compares names with a pattern, or looks for a part of them.
func matcher(name string, pattern bool) (func(string) bool, error) {
	if !pattern {
		name = strings.ToLower(name)
		return func(s string) bool { return strings.Contains(strings.ToLower(s), name) }, nil
	}
	re, err := regexp.Compile("(?i)" + name)
	if err != nil {
		return nil, badRequest("name: " + err.Error())
	}
	return re.MatchString, nil
}

// sortBy sorts by a property, or one within another: a.b.
func sortBy(list []object, by string, reverse bool) {
	slices.SortStableFunc(list, func(a, b object) int {
		c := compare(property(a, by), property(b, by))
		if reverse {
			return -c
		}
		return c
	})
}

// property finds a.b.c in an object; nil: it is not there.
func property(o object, path string) any {
	var at any = o
	for _, key := range strings.Split(path, ".") {
		in, ok := asObject(at)
		if !ok {
			return nil
		}
		at = in[key]
	}
	return at
}

// asObject is a value that has properties.
func asObject(x any) (object, bool) {
	switch x := x.(type) {
	case object:
		return x, true
	case map[string]any:
		return x, true
	}
	return nil, false
}

// compare orders numbers by value and all else by its text.
func compare(a, b any) int {
	x, isX := asNumber(a)
	y, isY := asNumber(b)
	if isX && isY {
		return cmp.Compare(x, y)
	}
	return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b))
}

func asNumber(x any) (float64, bool) {
	switch n := x.(type) {
	case int:
		return float64(n), true
	case int64:
		return float64(n), true
	case uint64:
		return float64(n), true
	case uint32:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}

// columns leaves of an object what the request wants of it.
func (r *request) columns(o object) object {
	wanted := r.URL.Query().Get("columns")
	if wanted == "" {
		return o
	}
	out := object{}
	for _, path := range strings.Split(wanted, ",") {
		keys := strings.Split(path, ".")
		if v := property(o, path); v != nil {
			put(out, keys, v)
		}
	}
	return out
}

// put sets a property within others.
func put(o object, keys []string, v any) {
	for _, key := range keys[:len(keys)-1] {
		in, ok := o[key].(object)
		if !ok {
			in = object{}
			o[key] = in
		}
		o = in
	}
	o[keys[len(keys)-1]] = v
}

func (r *request) eachColumns(list []object) []object {
	out := make([]object, len(list))
	for i, o := range list {
		out[i] = r.columns(o)
	}
	return out
}

// objectOf is a value with JSON's names, as an object.
func objectOf(x any) object {
	b, err := json.Marshal(x)
	o := object{}
	if err == nil {
		_ = json.Unmarshal(b, &o) // what was an object a moment ago is one
	}
	return o
}
