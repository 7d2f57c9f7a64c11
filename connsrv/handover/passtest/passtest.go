package passtest

import (
	"fmt"
	"reflect"
	"slices"
)

// Unset checks samples, structs of one type: each field is set in one of them at least, but for those
// that are named, which no sample sets. It returns what is wrong, in words.
func Unset(named []string, samples ...any) (faults []string) {
	t := reflect.TypeOf(samples[0])
	for _, name := range named {
		if _, ok := t.FieldByName(name); !ok {
			faults = append(faults, fmt.Sprintf("%s has no field %s", t, name))
		}
	}
	for i := range t.NumField() {
		name := t.Field(i).Name
		set := slices.ContainsFunc(samples, func(x any) bool { return !reflect.ValueOf(x).Field(i).IsZero() })
		switch listed := slices.Contains(named, name); {
		case !set && !listed:
			faults = append(faults, fmt.Sprintf("%s.%s is zero in all samples: it is not known whether it is passed on", t, name))
		case set && listed:
			faults = append(faults, fmt.Sprintf("%s.%s is named as not passed on, and set in a sample", t, name))
		}
	}
	return faults
}
