package manifest

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// A Version is a release version as in semver.org 2.0, without build metadata.
type Version struct {
	major, minor, patch uint64
	pre                 []string
	text                string
}

var versionForm = regexp.MustCompile(`^(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?$`)

// ParseVersion reads MAJOR.MINOR.PATCH[-PRERELEASE].
func ParseVersion(s string) (Version, error) {
	m := versionForm.FindStringSubmatch(s)
	if m == nil || len(s) > 64 {
		return Version{}, fmt.Errorf("version %q is not MAJOR.MINOR.PATCH[-PRERELEASE]", s)
	}
	v := Version{text: s}
	for i, to := range []*uint64{&v.major, &v.minor, &v.patch} {
		*to, _ = strconv.ParseUint(m[i+1], 10, 64) // the form allows nothing else
	}
	if m[4] != "" {
		v.pre = strings.Split(m[4], ".")
		for _, id := range v.pre {
			if len(id) > 1 && id[0] == '0' && numeric(id) {
				return Version{}, fmt.Errorf("version %q: leading zero in %q", s, id)
			}
		}
	}
	return v, nil
}

func (v Version) String() string { return v.text }

// Prerelease reports whether v comes before a release.
func (v Version) Prerelease() bool { return len(v.pre) > 0 }

// Compare orders versions by semver.org 2.0, item 11.
func (v Version) Compare(w Version) int {
	if c := cmp.Or(cmp.Compare(v.major, w.major), cmp.Compare(v.minor, w.minor), cmp.Compare(v.patch, w.patch)); c != 0 {
		return c
	}
	switch {
	case len(v.pre) == 0 && len(w.pre) == 0:
		return 0
	case len(v.pre) == 0:
		return 1
	case len(w.pre) == 0:
		return -1
	}
	for i := range min(len(v.pre), len(w.pre)) {
		if c := compareID(v.pre[i], w.pre[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(v.pre), len(w.pre))
}

// compareID: numbers by value and below words; words by ASCII.
func compareID(a, b string) int {
	switch na, nb := numeric(a), numeric(b); {
	case na && nb:
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	case na:
		return -1
	case nb:
		return 1
	}
	return cmp.Compare(a, b)
}

func numeric(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}
