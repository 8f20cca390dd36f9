// Package tpm2tools is what Debian's tpm2-tools, all of them, do with a TPM and
// what must come of it: results that OpenSSL or this package computes too, and
// refusals with their response codes. The tests of vtpmd run it over a socket,
// the lab's guest over /dev/tpm0 of a stock kernel.
package tpm2tools

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Transport is the TPM itself, beside the tools. While one is open the tools cannot use it.
type Transport interface {
	Send(cmd []byte) (rsp []byte, err error)
	Close() error
}

// Bench is a TPM, started and in the state in which it was made, and how the tools find it.
type Bench struct {
	Dir   string                    // a family's files go to a folder of its name in it
	Env   []string                  // for the tools: TPM2TOOLS_TCTI and what else they need
	Open  func() (Transport, error) // to flush what a tool leaves loaded
	Limit time.Duration             // for each command line; 0 is two minutes
	// Brief leaves out what differs from another step only in an algorithm or a repetition, for slow
	// machines. Every program is used in any case.
	Brief bool
	// RSA1024: the TPM offers RSA keys of 1024 bits.
	RSA1024 bool
}

// Family is one part of the suite. Families may run one after another on one
// TPM in the order of [Families], or each on its own TPM.
type Family struct {
	Name  string // one word
	About string // what is proven, for a table
	steps func(*Run)
}

// Families returns all families.
func Families() []Family {
	return []Family{
		{"capabilities", "every capability; algorithm tests; a raw command", testCapabilities},
		{"basics", "self tests, random, clock, shutdown", testBasics},
		{"hash", "hash and HMAC, in one command and as sequences", testHash},
		{"primaries", "primary keys of every kind in all hierarchies; children; creation data", testPrimaryKinds},
		{"persistent", "evictcontrol, changeauth of a key", testPersistent},
		{"signing", "RSASSA, RSAPSS, ECDSA, Schnorr, checked by OpenSSL; wrong authorization and signatures refused", testSigning},
		{"ciphers", "AES and RSA encryption, with OpenSSL on the other side", testCiphers},
		{"ecdh", "ECDH, two-phase exchange, commit, curve parameters", testECDH},
		{"nv", "NV: define, write, read in parts, wrong authorization, undefine", testNV},
		{"nvkinds", "NV: counter, bits, extend, read, write and global locks", testNVKinds},
		{"nvspecial", "NV: an index that only a policy removes", testNVSpecial},
		{"sessions", "HMAC sessions: salted, bound, with encrypted parameters; audit", testSessions},
		{"policysecret", "policies of command code, locality, clock, secret, or; a wrong one refused", testPolicyCommandsAndTexts},
		{"policyauth", "policypassword and policyauthvalue; a wrong password refused", testPolicyAuth},
		{"policysigned", "policysigned and policyauthorize with OpenSSL's signatures", testPolicySignedAndAuthorize},
		{"policyticket", "a ticket of policysecret", testPolicyTicket},
		{"policynv", "policynv, policyauthorizenv, policynvwritten", testPolicyNV},
		{"policyhashes", "policies of parameters, names, templates, duplication", testPolicyHashes},
		{"quote", "quotes, checked by checkquote and OpenSSL; a wrong nonce refused", testQuote},
		{"certify", "certify, certifycreation, nvcertify, gettime, checked by OpenSSL", testCertify},
		{"audit", "command audit", testCommandAudit},
		{"certificate", "a certificate of X.509 that the TPM signs", testCertifyX509},
		{"credentials", "EK and AK; makecredential, also without a TPM, and activatecredential", testEndorsement},
		{"duplicate", "a key goes to another parent, with and without inner wrapping", testDuplicate},
		{"import", "keys that OpenSSL made", testImport},
		{"contexts", "context files; a damaged one refused", testContexts},
		{"pcr", "extend, event, reset, allocation", testPCR},
		{"seal", "a secret sealed to PCRs, unsealed; refused after an extend", testPolicyPCR},
		{"lockout", "wrong authorizations lead to lockout, and out of it", testLockout},
		{"hierarchies", "seeds, authorizations, clear and its control, hierarchycontrol", testHierarchies},
	}
}

// NotUsed are the programs of the package that the suite leaves out, and why.
var NotUsed = map[string]string{
	"tpm2_eventlog":         "parses a firmware's log, without a TPM",
	"tpm2_getekcertificate": "is in the family EKCertificate, which needs a manufacturer",
}

// Report is what a family did.
type Report struct {
	Commands int             // command lines, OpenSSL's too
	Tools    map[string]bool // programs that were run
}

// Run is a family at work. Its methods end it at the first unexpected result.
type Run struct {
	*Bench
	ctx    context.Context
	dir    string
	report Report
}

// failure is what a step panics with to end its family; Run.family turns it into an error.
type failure struct{ error }

// Run runs a family. The error says which command line did what.
func (b *Bench) Run(ctx context.Context, f Family) (_ Report, err error) {
	x := &Run{Bench: b, ctx: ctx, dir: filepath.Join(b.Dir, f.Name), report: Report{Tools: make(map[string]bool)}}
	if err := os.Mkdir(x.dir, 0o700); err != nil {
		return x.report, fmt.Errorf("tpm2tools: %w", err)
	}
	err = x.family(f)
	if err != nil {
		err = fmt.Errorf("%s, after %d command lines: %w", f.Name, x.report.Commands, err)
	}
	return x.report, err
}

func (x *Run) family(f Family) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case failure:
			err = r.error
		default:
			panic(r)
		}
	}()
	f.steps(x)
	return nil
}

func (x *Run) fatal(a ...any) { panic(failure{errors.New(strings.TrimSpace(fmt.Sprintln(a...)))}) }

func (x *Run) fatalf(format string, a ...any) { panic(failure{fmt.Errorf(format, a...)}) }

// do runs command lines one after another and returns the last one's output.
// There is no resource manager, so what each leaves loaded is flushed.
func (x *Run) do(lines ...string) string {
	var out string
	for _, l := range lines {
		var err error
		var messages string
		if out, messages, err = x.try(l); err != nil {
			x.fatalf("%s: %w\n%s%s", l, err, out, messages)
		}
		x.tidy(l)
	}
	return out
}

// deny wants a command line to fail with a TPM response code, in hexadecimal as tpm2-tools prints it.
func (x *Run) deny(rc, line string) { x.fails("("+rc+")", line) }

// fails wants a command line to fail with a message that has a text in it.
func (x *Run) fails(text, line string) {
	out, messages, err := x.try(line)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(messages, text) {
		x.fatalf("%s: %w, want a failure with %q\n%s%s", line, orSuccess(err), text, out, messages)
	}
	x.tidy(line)
}

var errSuccess = errors.New("success")

func orSuccess(err error) error {
	if err == nil {
		return errSuccess
	}
	return err
}

// try runs one command line in the family's folder. Words end at spaces; there is no quoting.
func (x *Run) try(line string) (out, messages string, err error) {
	limit := x.Limit
	if limit == 0 {
		limit = 2 * time.Minute
	}
	ctx, cancel := context.WithTimeout(x.ctx, limit)
	defer cancel()
	f := strings.Fields(line)
	cmd := exec.CommandContext(ctx, f[0], f[1:]...)
	cmd.Dir = x.dir
	cmd.Env = append(append(os.Environ(), "LC_ALL=C", "TSS2_LOG=all+ERROR", "HOME="+x.dir), x.Env...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	x.report.Commands++
	x.report.Tools[f[0]] = true
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return stdout.String(), stderr.String(), err
}

// tidy removes all transient objects and all loaded sessions after a tool: the tools save
// those that they mean to keep, and leave some behind after errors.
func (x *Run) tidy(line string) {
	if strings.HasPrefix(line, "tpm2_") {
		x.flush(0x80000000, 0x02000000)
	}
}

// flush removes what has handles of the ranges that begin with first.
func (x *Run) flush(first ...uint32) {
	t, err := x.Open()
	if err != nil {
		x.fatalf("opening the TPM to flush: %w", err)
	}
	for _, f := range first {
		rsp := x.send(t, capability(1, f, 64))
		for i := range int(binary.BigEndian.Uint32(rsp[15:])) {
			x.send(t, flushContext(binary.BigEndian.Uint32(rsp[19+4*i:])))
		}
	}
	if err := t.Close(); err != nil {
		x.fatalf("closing the TPM after flushing: %w", err)
	}
}

// send wants TPM_RC_SUCCESS.
func (x *Run) send(t Transport, cmd []byte) []byte {
	rsp, err := t.Send(cmd)
	if err == nil && (len(rsp) < 10 || binary.BigEndian.Uint32(rsp[6:]) != 0) {
		err = fmt.Errorf("the response is %x", rsp)
	}
	if err != nil {
		_ = t.Close() // the error before it matters
		x.fatalf("command %x: %w", cmd, err)
	}
	return rsp
}

// Commands of TPM 2.0 Part 3: GetCapability (30.2) and FlushContext (28.4).
func capability(kind, property, count uint32) []byte {
	cmd := []byte{0x80, 0x01, 0, 0, 0, 22, 0, 0, 0x01, 0x7a}
	for _, v := range []uint32{kind, property, count} {
		cmd = binary.BigEndian.AppendUint32(cmd, v)
	}
	return cmd
}

func flushContext(h uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{0x80, 0x01, 0, 0, 0, 14, 0, 0, 0x01, 0x65}, h)
}

// write makes a file.
func (x *Run) write(name, content string) {
	if err := os.WriteFile(filepath.Join(x.dir, name), []byte(content), 0o600); err != nil {
		x.fatal(err)
	}
}

// read returns a file.
func (x *Run) read(name string) string {
	b, err := os.ReadFile(filepath.Join(x.dir, name))
	if err != nil {
		x.fatal(err)
	}
	return string(b)
}

// same wants two files to be equal.
func (x *Run) same(a, b string) {
	if p, q := x.read(a), x.read(b); p != q {
		x.fatalf("%s is %x, %s is %x", a, p, b, q)
	}
}

// has wants texts in an output.
func (x *Run) has(out string, texts ...string) {
	for _, s := range texts {
		if !strings.Contains(out, s) {
			x.fatalf("no %q in:\n%s", s, out)
		}
	}
}

// few are the cases of a family: all, or the first n when the suite shall be brief.
func few[T any](x *Run, n int, all ...T) []T {
	if x.Brief {
		return all[:n]
	}
	return all
}

// parent makes a storage key, p.ctx.
func (x *Run) parent() { x.do("tpm2_createprimary -C o -G ecc -c p.ctx") }
