package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"xenvtpm/tools/vtpmd/options"
	"xenvtpm/vtpm-stub/tpm2"
)

// profileJSON is a profile as swtpm's --profile takes it and its --print-profiles shows it.
type profileJSON struct {
	Name             string
	StateFormatLevel int    `json:",omitempty"`
	Commands         string `json:",omitempty"`
	Algorithms       string `json:",omitempty"`
	Attributes       string `json:",omitempty"`
	Description      string `json:",omitempty"`
}

// profileText is the JSON of a profile with its lists.
func profileText(p *tpm2.Profile) profileJSON {
	return profileJSON{Name: p.Name(), StateFormatLevel: p.StateFormatLevel(), Commands: p.Commands(), Algorithms: p.Algorithms(), Description: p.Description()}
}

// printProfiles writes what there is, as swtpm --print-profiles does.
func printProfiles(w io.Writer) error {
	var list []profileJSON
	for _, name := range tpm2.ProfileNames() {
		p, err := tpm2.ProfileNamed(name)
		if err != nil {
			return err
		}
		list = append(list, profileText(p))
	}
	return json.NewEncoder(w).Encode(map[string]any{"AvailableProfiles": list})
}

// maxProfile bounds a profile's file.
const maxProfile = 64 << 10

// profileOf returns the profile that the command line names; its errors are wrong use.
func profileOf(spec *options.ProfileSpec) (*tpm2.Profile, error) {
	if spec == nil {
		return tpm2.DefaultProfile(), nil
	}
	text, err := readProfile(spec)
	if err != nil {
		return nil, fmt.Errorf("--profile: %w", err)
	}
	p, err := parseProfile(text, spec.FIPSHost)
	if err != nil {
		return nil, fmt.Errorf("%w: --profile: %w", options.ErrUsage, err)
	}
	return p, nil
}

// readProfile gets the JSON from where it is.
func readProfile(spec *options.ProfileSpec) ([]byte, error) {
	var in *os.File
	switch {
	case spec.Name != "":
		return json.Marshal(profileJSON{Name: spec.Name})
	case spec.JSON != "":
		return []byte(spec.JSON), nil
	case spec.FD >= 0:
		in = os.NewFile(uintptr(spec.FD), "profile")
	default:
		f, err := os.Open(spec.File)
		if err != nil {
			return nil, err
		}
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxProfile+1))
	if err = errors.Join(err, in.Close()); err == nil && len(text) > maxProfile {
		err = fmt.Errorf("more than %d octets are no profile", maxProfile)
	}
	return text, err
}

// parseProfile reads the JSON of a profile. The lists of a profile that is not custom may be there and
// must be its own.
func parseProfile(text []byte, fipsHost bool) (*tpm2.Profile, error) {
	var j profileJSON
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows the profile's JSON")
	}
	if j.Attributes != "" {
		return nil, fmt.Errorf("the profile has Attributes %q; this TPM has none", j.Attributes)
	}
	if j.Name == tpm2.ProfileCustom || strings.HasPrefix(j.Name, tpm2.ProfileCustom+":") {
		return customProfile(j, fipsHost)
	}
	p, err := tpm2.ProfileNamed(j.Name)
	if err != nil {
		return nil, err
	}
	own := profileText(p)
	for _, v := range [][2]string{{j.Algorithms, own.Algorithms}, {j.Commands, own.Commands}} {
		if v[0] != "" && v[0] != v[1] {
			return nil, fmt.Errorf("the lists of %s cannot be changed; use the profile custom", j.Name)
		}
	}
	if j.StateFormatLevel != 0 && j.StateFormatLevel != own.StateFormatLevel {
		return nil, fmt.Errorf("%s has StateFormatLevel %d, not %d", j.Name, own.StateFormatLevel, j.StateFormatLevel)
	}
	return p, nil
}

func customProfile(j profileJSON, fipsHost bool) (*tpm2.Profile, error) {
	p, err := tpm2.CustomProfile(j.Name, j.StateFormatLevel, j.Algorithms, j.Commands)
	if err != nil || !fipsHost {
		return p, err
	}
	return tpm2.CustomProfile(j.Name, j.StateFormatLevel, withoutNonFIPS(p.Algorithms()), p.Commands())
}

// withoutNonFIPS takes out what a host in FIPS mode lacks, as libtpms' manual lists it.
func withoutNonFIPS(algorithms string) string {
	drop := map[string]bool{"camellia": true, "tdes": true, "rsaes": true, "ecc-bn": true, "ecc-nist-p192": true,
		"ecc-bn-p256": true, "ecc-bn-p638": true, "ecc-sm2-p256": true}
	var keep []string
	for verb := range strings.SplitSeq(algorithms, ",") {
		key, _, _ := strings.Cut(verb, "-min-size=")
		switch {
		case drop[key]:
		case verb == "ecc-nist":
			keep = append(keep, "ecc-nist-p224", "ecc-nist-p256", "ecc-nist-p384", "ecc-nist-p521")
		case verb == "rsa-min-size=1024":
			keep = append(keep, "rsa-min-size=2048")
		case verb == "ecc-min-size=192":
			keep = append(keep, "ecc-min-size=224")
		default:
			keep = append(keep, verb)
		}
	}
	return strings.Join(keep, ",")
}
