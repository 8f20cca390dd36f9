package options

import (
	"encoding/json"
	"strings"
)

// ProfileSpec is a --profile argument: where the profile of a new TPM comes from. One of Name, JSON, File
// and FD is given.
type ProfileSpec struct {
	Name string
	JSON string
	File string
	FD   int // -1 when not given
	// FIPSHost leaves out of custom what libcrypto lacks on a host in FIPS mode.
	FIPSHost bool
}

// setProfile reads name=, profile=, file=, fd= and remove-disabled=. A profile's JSON has commas
// of its own and ends with its brace.
func (o *Options) setProfile(value string) error {
	p := &ProfileSpec{FD: -1}
	rest := value
	if head, tail, ok := cutJSON(value); ok {
		var raw json.RawMessage
		d := json.NewDecoder(strings.NewReader(tail))
		if err := d.Decode(&raw); err != nil {
			return usage("--profile: the profile is not JSON: %v", err)
		}
		p.JSON = string(raw)
		tail = strings.TrimPrefix(tail[d.InputOffset():], ",")
		rest = strings.Trim(head+tail, ",")
	}
	kv := &list{name: "--profile", kv: map[string]string{}}
	if rest != "" {
		var err error
		if kv, err = parseList("--profile", rest); err != nil {
			return err
		}
	}
	p.Name, p.File = kv.text("name"), kv.text("file")
	if err := kv.int("fd", &p.FD); err != nil {
		return err
	}
	switch how := kv.text("remove-disabled"); how {
	case "", "false":
	case "true", "check": // nothing is disabled on a host without libcrypto's rules
	case "fips-host":
		p.FIPSHost = true
	default:
		return usage("--profile: remove-disabled is check, fips-host or false, not %q", how)
	}
	sources := 0
	for _, given := range []bool{p.Name != "", p.JSON != "", p.File != "", p.FD >= 0} {
		if given {
			sources++
		}
	}
	if sources != 1 {
		return usage("--profile: give one of name, profile, file and fd")
	}
	o.Profile = p
	return kv.rest()
}

// cutJSON splits before the JSON of "profile={...}".
func cutJSON(value string) (head, tail string, ok bool) {
	const key = "profile="
	if strings.HasPrefix(value, key) {
		return "", value[len(key):], true
	}
	head, tail, ok = strings.Cut(value, ","+key)
	return head + ",", tail, ok
}
