package options

import (
	"errors"
	"os"
	"testing"
)

func TestProfile(t *testing.T) {
	const custom = `{"Name":"custom","Algorithms":"rsa,sha256","Description":"a,b{c}"}`
	for value, want := range map[string]ProfileSpec{
		"name=default-v1":                                     {Name: "default-v1", FD: -1},
		"name=custom:mine,remove-disabled=check":              {Name: "custom:mine", FD: -1},
		"file=/p.json,remove-disabled=fips-host":              {File: "/p.json", FD: -1, FIPSHost: true},
		"fd=7,remove-disabled=false":                          {FD: 7},
		"profile=" + custom:                                   {JSON: custom, FD: -1},
		"profile=" + custom + ",remove-disabled=fips-host":    {JSON: custom, FD: -1, FIPSHost: true},
		"remove-disabled=fips-host,profile= " + custom + "":   {JSON: custom, FD: -1, FIPSHost: true},
		"remove-disabled=check,profile=" + `{"Name": "null"}`: {JSON: `{"Name": "null"}`, FD: -1},
	} {
		for _, args := range [][]string{{"--profile", value}, {"--profile=" + value}} {
			o, err := Parse(append(args, "--tpmstate", "dir=/x"), os.Getenv)
			if err != nil || o.Profile == nil || *o.Profile != want {
				t.Errorf("%q: %+v, %v", args, o, err)
			}
		}
	}
	for _, value := range []string{
		"", "name=", "name=a,file=b", "profile={}," + "fd=3", "profile={", "profile=null-v1", "remove-disabled=check", "name=a,remove-disabled=all",
		"fd=x", "name=a,color=red", "name=a,name=b", "profile={}x",
	} {
		if o, err := Parse([]string{"--profile", value, "--tpmstate", "dir=/x"}, os.Getenv); !errors.Is(err, ErrUsage) {
			t.Errorf("%q: %+v, %v", value, o, err)
		}
	}
	if o, err := Parse([]string{"--print-profiles"}, os.Getenv); err != nil || !o.PrintProfiles {
		t.Errorf("--print-profiles: %v", err)
	}
}
