package sshsig

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

const ns = "test@example.org"

var message = []byte("a manifest\n")

// keygen runs the real ssh-keygen. The tests of the format are worth little
// without it, so a machine that lacks it fails unless the tests are short.
func keygen(t *testing.T, stdin []byte, args ...string) ([]byte, error) {
	t.Helper()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		if testing.Short() {
			t.Skip("no ssh-keygen")
		}
		t.Fatal("ssh-keygen is needed: apt install openssh-client")
	}
	cmd := exec.Command("ssh-keygen", args...)
	cmd.Stdin = bytes.NewReader(stdin)
	return cmd.CombinedOutput()
}

func newKey(t *testing.T, dir string, args ...string) string {
	t.Helper()
	name := filepath.Join(dir, "key-"+strings.Join(args, "-"))
	if b, err := keygen(t, nil, append([]string{"-q", "-N", "", "-C", "tester", "-f", name, "-t"}, args...)...); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, b)
	}
	return name
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t *testing.T, name string, b []byte) string {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

var keyTypes = [][]string{{"ed25519"}, {"ecdsa", "-b", "256"}, {"ecdsa", "-b", "384"}, {"ecdsa", "-b", "521"}}

// Ours, checked by ssh-keygen.
func TestSignForKeygen(t *testing.T) {
	for _, typ := range keyTypes {
		t.Run(strings.Join(typ, " "), func(t *testing.T) {
			dir := t.TempDir()
			key := newKey(t, dir, typ...)
			signer, done, err := LoadSigner(key, "")
			if err != nil {
				t.Fatal(err)
			}
			defer done()
			sig, err := Sign(rand.Reader, signer, ns, message)
			if err != nil {
				t.Fatal(err)
			}
			sigFile := writeFile(t, filepath.Join(dir, "sig"), sig)
			allowed := writeFile(t, filepath.Join(dir, "allowed"), append([]byte("alice "), readFile(t, key+".pub")...))
			args := []string{"-Y", "verify", "-f", allowed, "-I", "alice", "-n", ns, "-s", sigFile}
			if b, err := keygen(t, message, args...); err != nil {
				t.Fatalf("ssh-keygen refuses our signature: %v\n%s", err, b)
			}
			if _, err := keygen(t, []byte("another\n"), args...); err == nil {
				t.Fatal("ssh-keygen accepts our signature for another file: the test is broken")
			}
		})
	}
}

// ssh-keygen's, checked by ours.
func TestVerifyFromKeygen(t *testing.T) {
	for _, typ := range keyTypes {
		for _, hash := range []string{"sha256", "sha512"} {
			t.Run(strings.Join(typ, " ")+" "+hash, func(t *testing.T) {
				dir := t.TempDir()
				key, file := newKey(t, dir, typ...), writeFile(t, filepath.Join(dir, "m"), message)
				if b, err := keygen(t, nil, "-Y", "sign", "-O", "hashalg="+hash, "-n", ns, "-f", key, file); err != nil {
					t.Fatalf("%v\n%s", err, b)
				}
				s, err := Parse(readFile(t, file+".sig"))
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Verify(ns, message); err != nil {
					t.Fatal(err)
				}
				if s.Hash != hash {
					t.Errorf("hash %s", s.Hash)
				}
				if err := s.Verify(ns, []byte("a manifesT\n")); !errors.Is(err, ErrSignature) {
					t.Errorf("changed file: %v", err)
				}
				if err := s.Verify("other", message); !errors.Is(err, ErrNamespace) {
					t.Errorf("other namespace: %v", err)
				}
			})
		}
	}
}

// A key that only ssh-agent holds, as with hardware tokens.
func TestAgent(t *testing.T) {
	if _, err := exec.LookPath("ssh-agent"); err != nil {
		t.Skip("no ssh-agent")
	}
	dir := t.TempDir()
	key := newKey(t, dir, "ed25519")
	socket := filepath.Join(dir, "agent")
	cmd := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	add := func() error {
		c := exec.Command("ssh-add", "-q", key)
		c.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
		return c.Run()
	}
	if _, _, err := LoadSigner(key+".pub", socket+"x"); err == nil {
		t.Error("no agent, no error")
	}
	err := add()
	for i := 0; err != nil && i < 50; i++ { // until the agent listens
		exec.Command("sleep", "0.1").Run()
		err = add()
	}
	if err != nil {
		t.Fatal(err)
	}
	signer, done, err := LoadSigner(key+".pub", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	sig, err := Sign(rand.Reader, signer, ns, message)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse(sig)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(ns, message); err != nil {
		t.Fatal(err)
	}
	other := newKey(t, dir, "ecdsa")
	if _, _, err := LoadSigner(other+".pub", socket); err == nil || !strings.Contains(err.Error(), "does not hold") {
		t.Errorf("a key the agent lacks: %v", err)
	}
	if _, _, err := LoadSigner(key+".pub", ""); err == nil || !strings.Contains(err.Error(), "SSH_AUTH_SOCK") {
		t.Errorf("no socket: %v", err)
	}
}

func TestRefusedKeys(t *testing.T) {
	dir := t.TempDir()
	rsa := newKey(t, dir, "rsa", "-b", "2048")
	signer, _, err := LoadSigner(rsa, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Sign(rand.Reader, signer, ns, message); err == nil {
		t.Error("signs with RSA")
	}
	file := writeFile(t, filepath.Join(dir, "m"), message)
	if b, err := keygen(t, nil, "-Y", "sign", "-n", ns, "-f", rsa, file); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if _, err := Parse(readFile(t, file+".sig")); err == nil || !strings.Contains(err.Error(), "not supported") {
		t.Errorf("an RSA signature: %v", err)
	}
	locked := filepath.Join(dir, "locked")
	if b, err := keygen(t, nil, "-q", "-N", "secret", "-f", locked, "-t", "ed25519"); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if _, _, err := LoadSigner(locked, ""); err == nil || !strings.Contains(err.Error(), "ssh-agent") {
		t.Errorf("a key with a passphrase: %v", err)
	}
	if _, _, err := LoadSigner(file, ""); err == nil {
		t.Error("a file that is no key is accepted")
	}
}

func testSigner(t testing.TB) ssh.Signer {
	t.Helper()
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// No single changed bit of the blob may leave a valid signature.
func TestEveryBit(t *testing.T) {
	sig, err := Sign(rand.Reader, testSigner(t), ns, message)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := dearmor(sig)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(blob) * 8 {
		bad := bytes.Clone(blob)
		bad[i/8] ^= 1 << (i % 8)
		s, err := Parse(armor(bad))
		if err == nil && s.Verify(ns, message) == nil {
			t.Errorf("valid with bit %d changed", i)
		}
	}
}

func TestDearmor(t *testing.T) {
	sig, err := Sign(rand.Reader, testSigner(t), ns, message)
	if err != nil {
		t.Fatal(err)
	}
	text := string(sig)
	for name, tt := range map[string]struct {
		text string
		ok   bool
	}{
		"as made":         {text, true},
		"CRLF":            {strings.ReplaceAll(text, "\n", "\r\n"), true},
		"no final line":   {strings.TrimSuffix(text, "\n"), true},
		"empty":           {"", false},
		"no begin":        {strings.Replace(text, "BEGIN", "BEGUN", 1), false},
		"no end":          {strings.Replace(text, "END", "ENT", 1), false},
		"text behind":     {text + "x", false},
		"text before":     {"x" + text, false},
		"not base64":      {strings.Replace(text, "\nU1NI", "\n!1NI", 1), false},
		"two signatures":  {text + text, false},
		"truncated":       {text[:len(text)/2] + "\n" + end, false},
		"large":           {text + strings.Repeat(" ", MaxSize), false},
		"another magic":   {strings.Replace(text, "\nU1NI", "\nU1NJ", 1), false},
		"only the armour": {begin + "\n" + end + "\n", false},
	} {
		if _, err := Parse([]byte(tt.text)); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// touchKey signs as a FIDO security key does (PROTOCOL.u2f).
type touchKey struct {
	priv  ed25519.PrivateKey
	flags byte
}

func (k touchKey) public(t *testing.T) ssh.PublicKey {
	t.Helper()
	pub, err := ssh.ParsePublicKey(ssh.Marshal(struct {
		Type string
		Key  []byte
		App  string
	}{ssh.KeyAlgoSKED25519, k.priv.Public().(ed25519.PublicKey), "ssh:"}))
	if err != nil {
		t.Fatal(err)
	}
	return pub
}

func (k touchKey) sign(data []byte) *ssh.Signature {
	app, msg := sha256.Sum256([]byte("ssh:")), sha256.Sum256(data)
	rest := binary.BigEndian.AppendUint32([]byte{k.flags}, 7)
	blob := append(append(append([]byte{}, app[:]...), rest...), msg[:]...)
	return &ssh.Signature{Format: ssh.KeyAlgoSKED25519, Blob: ed25519.Sign(k.priv, blob), Rest: rest}
}

func TestSecurityKey(t *testing.T) {
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for flags, ok := range map[byte]bool{1: true, 5: true, 0: false, 4: false} {
		k := touchKey{priv, flags}
		data, err := toSign(ns, "sha512", message)
		if err != nil {
			t.Fatal(err)
		}
		s := &Signature{Key: k.public(t), Namespace: ns, Hash: "sha512", sig: k.sign(data)}
		if err := s.Verify(ns, message); (err == nil) != ok {
			t.Errorf("flags %#x: %v", flags, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	// Every fuzzing process must make the same signature.
	signer, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		f.Fatal(err)
	}
	sig, err := Sign(rand.Reader, signer, ns, message)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sig)
	f.Add([]byte(begin + "\n" + end + "\n"))
	f.Add([]byte(begin + "\nU1NIU0lH\n" + end))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Parse(b)
		if err != nil {
			return
		}
		if !bytes.Equal(b, sig) && s.Verify(ns, message) == nil {
			// Another spelling of the same signature is possible (CRLF);
			// another signature is not.
			if blob, _ := dearmor(b); !bytes.Equal(blob, must(dearmor(sig))) {
				t.Fatalf("a signature from nowhere: %q", b)
			}
		}
	})
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}
