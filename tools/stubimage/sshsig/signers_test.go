package sshsig

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func keyLine(t testing.TB) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(testSigner(t).PublicKey())))
}

// TestAllowedLikeKeygen asks ssh-keygen and us about the same lines.
func TestAllowedLikeKeygen(t *testing.T) {
	dir := t.TempDir()
	key, file := newKey(t, dir, "ed25519"), writeFile(t, filepath.Join(dir, "m"), message)
	if b, err := keygen(t, nil, "-Y", "sign", "-n", ns, "-f", key, file); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	pub := strings.TrimSpace(string(readFile(t, key+".pub")))
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		prefix string
		ok     bool
	}{
		{"alice", true},
		{"alice,bob", true},
		{`"alice"`, true},
		{"alice namespaces=\"test@example.org\"", true},
		{"alice namespaces=\"other,test@*\"", true},
		{"alice namespaces=\"te?t@example.org\"", true},
		{"alice namespaces=\"*,!test@example.org\"", false},
		{"alice namespaces=\"!other\"", false},
		{"alice namespaces=\"other\"", false},
		{"alice namespaces=\"test@example.or\"", false},
		{"alice valid-after=\"20260101Z\"", true},
		{"alice valid-after=\"20260601115959Z\"", true},
		{"alice valid-after=\"20260601120001Z\"", false},
		{"alice valid-after=\"20270101Z\"", false},
		{"alice valid-before=\"20270101Z\"", true},
		{"alice valid-before=\"20260601Z\"", false},
		{"alice valid-before=\"202606011159Z\"", false},
		{"alice valid-after=\"20260101Z\",valid-before=\"20260701Z\"", true},
		{"alice namespaces=\"test@example.org\",valid-before=\"20260501Z\"", false},
		{"alice NAMESPACES=\"test@example.org\"", true},
	} {
		allowed := writeFile(t, filepath.Join(dir, "allowed"), []byte("# who may\n\n"+tt.prefix+" "+pub+"\n"))
		_, err := keygen(t, message, "-Y", "verify", "-f", allowed, "-I", "alice", "-n", ns, "-s", file+".sig",
			"-O", "verify-time="+now.Format("20060102150405")+"Z")
		if (err == nil) != tt.ok {
			t.Errorf("%s: ssh-keygen says %v: the table is wrong", tt.prefix, err)
		}
		list, err := ParseAllowedSigners(readFile(t, allowed))
		if err != nil || len(list) != 1 || list[0].Line != 3 || list[0].Principals[0] != "alice" {
			t.Errorf("%s: %+v, %v", tt.prefix, list, err)
			continue
		}
		if err := list[0].Allows(ns, now); (err == nil) != tt.ok {
			t.Errorf("%s: %v, ssh-keygen accepts: %v", tt.prefix, err, tt.ok)
		}
	}
}

func TestAllowedErrors(t *testing.T) {
	key := keyLine(t)
	for name, line := range map[string]string{
		"no key":              "alice",
		"no principal":        key,
		"empty principal":     "alice,, " + key,
		"not a key":           "alice ssh-ed25519 AAAA",
		"certificate signer":  "alice cert-authority " + key,
		"unknown option":      "alice no-touch-required " + key,
		"bad time":            "alice valid-before=\"tomorrow\" " + key,
		"month 13":            "alice valid-before=\"20261301\" " + key,
		"empty namespaces":    "alice namespaces=\"\" " + key,
		"unterminated quote":  `"alice ` + key,
		"trailing second key": "alice " + key + "\nbob",
	} {
		if list, err := ParseAllowedSigners([]byte(line + "\n")); err == nil {
			t.Errorf("%s: accepted as %+v", name, list)
		} else if !strings.Contains(err.Error(), "line ") {
			t.Errorf("%s: %v does not name the line", name, err)
		}
	}
	if list, err := ParseAllowedSigners(nil); err != nil || len(list) != 0 {
		t.Errorf("an empty file: %v %v", list, err)
	}
}

func TestAllowsErrors(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a := AllowedSigner{ValidBefore: now.Add(-time.Second)}
	if err := a.Allows(ns, now); !errors.Is(err, ErrExpired) {
		t.Error(err)
	}
	a = AllowedSigner{ValidAfter: now.Add(time.Second)}
	if err := a.Allows(ns, now); !errors.Is(err, ErrNotYetValid) {
		t.Error(err)
	}
	a = AllowedSigner{Namespaces: []string{"file"}}
	if err := a.Allows(ns, now); !errors.Is(err, ErrKeyNamespace) {
		t.Error(err)
	}
}

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, s string
		ok         bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"*", "", true}, {"*", "a/b", true}, {"a*c", "a/c", true},
		{"?", "/", true}, {"[a]", "a", false}, {"[a]", "[a]", true}, {`\*`, "*", false}, {`\*`, `\x`, true}, {"", "", true},
	} {
		if match(tt.pattern, tt.s) != tt.ok {
			t.Errorf("match(%q, %q) is %v", tt.pattern, tt.s, !tt.ok)
		}
	}
}

func TestRevoked(t *testing.T) {
	a, b, c := testSigner(t).PublicKey(), testSigner(t).PublicKey(), testSigner(t).PublicKey()
	text := fmt.Sprintf("# lost\n%s%s a comment\n", ssh.MarshalAuthorizedKey(a), ssh.FingerprintSHA256(b))
	r, err := ParseRevoked([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if !r.Has(a) || !r.Has(b) || r.Has(c) {
		t.Errorf("revoked: %v %v %v", r.Has(a), r.Has(b), r.Has(c))
	}
	for _, bad := range []string{"SSHKRL\n\x00....", "SSHKRL\n\x00", "SHA256:short\n", "ssh-ed25519 AAAA\n", "garbage\n"} {
		if _, err := ParseRevoked([]byte(bad)); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

// TestKRL reads lists that the real ssh-keygen makes.
func TestKRL(t *testing.T) {
	dir := t.TempDir()
	bad, worse, good := newKey(t, dir, "ed25519"), newKey(t, dir, "ecdsa"), newKey(t, dir, "ecdsa", "-b", "384")
	key := func(name string) ssh.PublicKey {
		pub, _, _, _, err := ssh.ParseAuthorizedKey(readFile(t, name+".pub"))
		if err != nil {
			t.Fatal(err)
		}
		return pub
	}
	for _, prefix := range []string{"key: ", "sha1: ", "sha256: ", "hash: ", ""} {
		var spec string
		for _, name := range []string{bad, worse} {
			pub := string(readFile(t, name+".pub"))
			switch prefix {
			case "hash: ":
				spec += "hash: " + ssh.FingerprintSHA256(key(name)) + "\n"
			default:
				spec += prefix + pub
			}
		}
		list := writeFile(t, filepath.Join(dir, "spec"), []byte(spec))
		krl := filepath.Join(dir, "krl")
		if b, err := keygen(t, nil, "-k", "-f", krl, list); err != nil {
			t.Fatalf("%q: %v\n%s", prefix, err, b)
		}
		raw := readFile(t, krl)
		r, err := ParseRevoked(raw)
		if err != nil {
			t.Fatalf("%q: %v", prefix, err)
		}
		if len(r) != 2 || !r.Has(key(bad)) || !r.Has(key(worse)) || r.Has(key(good)) {
			t.Errorf("%q: %v", prefix, r)
		}
		for n := 1; n < len(raw); n++ {
			// Cut between two sections it is a shorter list, and a list
			// must never be read as more than it is.
			if r, err := ParseRevoked(raw[:n]); err == nil && len(r) >= 2 {
				t.Errorf("%q: cut to %d of %d bytes: %v", prefix, n, len(raw), r)
			}
		}
	}
	unknown := append(bytes.Clone(readFile(t, filepath.Join(dir, "krl"))), 9, 0, 0, 0, 5, 0, 0, 0, 1, 'x')
	if _, err := ParseRevoked(unknown); err == nil {
		t.Error("a section of an unknown type is passed over")
	}
}

func FuzzAllowedSigners(f *testing.F) {
	key := keyLine(f)
	f.Add("alice " + key)
	f.Add("a,b namespaces=\"x,!y\",valid-after=\"20260101Z\" " + key + " comment")
	f.Add("\"a b\" " + key + "\n#\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseAllowedSigners([]byte(text))
		if err != nil {
			return
		}
		for _, a := range list {
			if a.Key == nil || len(a.Principals) == 0 || a.Line == 0 {
				t.Fatalf("%q gives %+v", text, a)
			}
			a.Allows(ns, time.Now())
		}
	})
}

func FuzzRevoked(f *testing.F) {
	f.Add(keyLine(f))
	f.Add("SHA256:abcdefghijklmnopqrstuvwxyzabcdefghijklmnopq")
	f.Add("SSHKRL\n\x00" + string(ssh.Marshal(krlHeader{Format: 1, Rest: ssh.Marshal(krlSection{Type: krlExplicitKey, Data: "\x00\x00\x00\x01k"})})))
	f.Fuzz(func(t *testing.T, text string) {
		revoked, err := ParseRevoked([]byte(text))
		if err == nil && len(revoked) > len(text)/4+1 {
			t.Fatalf("%d keys from %q", len(revoked), text)
		}
	})
}
