package main

import (
	"crypto/elliptic"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"xenvtpm/vtpmmgr-stub/proto"
)

// Every command prints JSON when it is asked to, and nothing else.
func TestJSONEverywhere(t *testing.T) {
	l := newLab(t)
	l.key("auth", elliptic.P256())
	l.json, l.ran = true, map[string]bool{}
	for _, words := range []string{
		"status", "list", "create " + u1, "show " + u1, "pcrs",
		"recovery keygen %rec", "policy new %root", "policy sign --key %auth %root", "policy show %root",
		"provision --authority %auth.pub --policy %root --recovery %rec.pub",
		"policy new --group " + group + " %blue", "policy sign --key %auth %blue",
		"group create blue --authority %auth.pub --policy %blue", "group list", "group show blue",
		"policy new --from %blue %blue2", "policy sign --key %auth %blue2", "policy apply %blue2",
		"policy new --from %blue2 %blue3", "policy sign --key %auth %blue3", "group update %blue3",
		"move " + u1 + " --group blue", "list --group blue", "backup %backup", "delete " + u1, "restore %backup",
		"release new --group blue --to default %free " + u1, "release sign --key %auth %free",
		"delete " + u1, "group delete blue", "events", "status",
	} {
		l.ok(words)
	}
	var st proto.Status
	if err := json.Unmarshal([]byte(l.ok("status")), &st); err != nil {
		t.Fatal(err)
	}
	l.ok("recovery keygen %rec2")
	l.ok("recovery certify --key %auth --manager " + st.Manager.String() + " --number 1 %rec2.pub %cert2")
	l.ok("recovery replace %cert2", `"recovery_box_fingerprint": "`)
	l.ok("authority %auth.pub", st.AuthorityHash)
	l.ok("attest enrol --key %auth %bundle")
	l.evidence([]byte("nonce"))
	l.ok("attest add %bundle --certificate %cert --deep-quote %deep --quote %quote --signature %sig --vtpm-key %ak --vtpm-parent %srk")
	l.ok("verify %bundle --authority %auth.pub", `"ok": true`)
	l.extend(0)
	l.boot() // degraded now
	if out, _, code := l.ctl("status"); code != exitRefused || !json.Valid([]byte(out)) || !strings.Contains(out, `"recoverable": true`) {
		t.Errorf("status of a degraded manager: exit %d, %s", code, out)
	}
	l.ok("recovery request %req")
	l.ok("recovery answer --key %rec2 --session " + l.session() + " --box unknown %req %ans")
	l.ok("recovery finish %ans")
	for _, c := range commands() {
		switch c.name {
		case "start", "completion", "man": // start has tests of its own
		default:
			if !l.ran[c.name] {
				t.Errorf("vtpmctl %s --json was not tried", c.name)
			}
		}
	}
}

// The completion script in a real shell.
func TestCompletion(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not installed")
	}
	l := newLab(t)
	l.write("script", []byte(l.ok("completion bash")))
	for line, want := range map[string]string{
		"vtpmctl sta":                  "start status",
		"vtpmctl policy ap":            "apply",
		"vtpmctl group ":               "create list show update delete",
		"vtpmctl provision --":         "--authority --policy --recovery --json --device",
		"vtpmctl attest add --vtpm":    "--vtpm-key --vtpm-parent",
		"vtpmctl restore --o":          "--overwrite",
		"vtpmctl release ":             "new sign",
		"vtpmctl verify bundle --ek-r": "--ek-roots",
		"vtpmctl verify bundle --ha":   "--hardware-pcrs",
	} {
		words := strings.Split(line, " ")
		cmd := exec.Command(bash, "-c", `source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _vtpmctl; echo "${COMPREPLY[*]}"`, l.file("script"))
		cmd.Args = append(cmd.Args, words...)
		cmd.Dir, cmd.Stderr = t.TempDir(), os.Stderr
		out, err := cmd.Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s: %q %v, want %q", line, got, err, want)
		}
	}
}
