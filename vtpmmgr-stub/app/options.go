package app

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"xenvtpm/boot/startinfo"
	"xenvtpm/vtpmmgr-stub/hwtpm"
	"xenvtpm/vtpmmgr-stub/manager"
	"xenvtpm/vtpmmgr-stub/proto"
)

// Options is the manager's command line. docs/operations.md explains each.
type Options struct {
	TPMBase     uint64 // tpmiomem=: address of the TPM's registers
	TPMLocality uint8  // tpmlocality=
	OwnerAuth   []byte // owner_auth=: nil is well-known
	OwnerText   bool   // owner_auth=text:, which a TPM 1.2 takes the SHA-1 of
	NVIndex     uint32 // nvindex=
	Primary     uint32 // srk_handle=: persistent storage key, 0 = derive one
	PCRs        proto.PCRSelection
	RollbackOff bool       // rollback=off
	Admin       proto.UUID // admin=: uuid of the administrator's device here; zero: domain 0
	Forget      proto.UUID // forget=
	Authority   [32]byte   // authority=: SHA-256 of the root authority's TPMT_PUBLIC; zero: any
	Adopt       proto.UUID // adopt=: a store that is taken on trust, once
	Disk        string     // disk=: xenstore name of the disk, "" = the first
	SaveRate    uint32     // saverate=: saves an hour of a vTPM that does not stop; 0 = no limit
}

// Defaults.
const (
	DefaultTPMBase = 0xFED40000
	defaultPCRs    = "0-7"
)

// Options of Xen's own manager that this one has no use for: it finds out by
// itself, or the answer is always the same. They are accepted, so that an old
// configuration file keeps working.
var ignored = []string{"tpm2", "tpmirq", "tpmdriver", "srk_auth", "loglevel"}

// keys are the options that mean something.
var keys = []string{"tpmiomem", "tpmlocality", "owner_auth", "nvindex", "srk_handle", "pcrs", "rollback", "admin", "forget", "authority", "adopt", "disk", "saverate"}

// ParseOptions reads the command line. A misspelt option is an error: the
// default in its place could be the less safe one.
func ParseOptions(o startinfo.Options) (Options, error) {
	out := Options{TPMBase: DefaultTPMBase, NVIndex: hwtpm.DefaultIndex, SaveRate: manager.DefaultSaveRate}
	var err error
	if out.PCRs, err = parsePCRs(defaultPCRs); err != nil {
		return out, err
	}
	for _, key := range keys {
		v, ok := o.Get(key)
		if !ok {
			continue
		}
		if err := out.set(key, v); err != nil {
			return out, err
		}
	}
	if key := o.Unknown(append(slices.Clone(keys), ignored...)...); key != "" {
		return out, fmt.Errorf("unknown option %q", key)
	}
	return out, nil
}

func (out *Options) set(key, v string) (err error) {
	number := func(bits int, limit uint64) uint64 {
		n, perr := strconv.ParseUint(v, 0, bits)
		if perr != nil || n > limit {
			err = fmt.Errorf("option %s=%s: want a number up to %#x", key, v, limit)
		}
		return n
	}
	switch key {
	case "tpmiomem":
		if out.TPMBase = number(64, 0xFFFFF000); err == nil && out.TPMBase&0xFFF != 0 {
			err = fmt.Errorf("option tpmiomem=%s: not a page address", v)
		}
	case "tpmlocality":
		out.TPMLocality = uint8(number(8, 4))
	case "owner_auth":
		out.OwnerAuth, err = parseOwnerAuth(v)
		out.OwnerText = strings.HasPrefix(v, "text:")
	case "nvindex":
		if out.NVIndex = uint32(number(32, 0x01BFFFFE)); err == nil && out.NVIndex < 0x01000000 {
			err = fmt.Errorf("option nvindex=%s: not an NV index", v)
		}
	case "srk_handle":
		if v = strings.TrimPrefix(v, "0x"); len(v) == 8 { // upstream's form has no prefix
			v = "0x" + v
		}
		if out.Primary = uint32(number(32, 0x81FFFFFF)); err == nil && out.Primary < 0x81000000 {
			err = fmt.Errorf("option srk_handle=%s: not a persistent handle", v)
		}
	case "pcrs":
		out.PCRs, err = parsePCRs(v)
	case "rollback":
		if out.RollbackOff = v == "off"; !out.RollbackOff && v != "strict" {
			err = fmt.Errorf("option rollback=%s: want strict or off", v)
		}
	case "admin":
		out.Admin, err = parseAdmin(v)
	case "forget":
		out.Forget, err = proto.ParseUUID(v)
	case "authority":
		b, derr := hex.DecodeString(v)
		if derr != nil || len(b) != len(out.Authority) {
			return fmt.Errorf("option authority=%s: want the 64 hex digits that vtpmctl authority prints", v)
		}
		out.Authority = [32]byte(b)
	case "adopt":
		out.Adopt, err = proto.ParseUUID(v)
	case "disk":
		out.Disk = v
	case "saverate":
		out.SaveRate = uint32(number(32, 3_600_000))
	}
	return err
}

// parseAdmin: 0 for domain 0, which is always the same; any other domain by the
// uuid of its device, as the toolstack writes it. Another domain's number is given
// to the next one when that domain reboots.
func parseAdmin(v string) (proto.UUID, error) {
	if v == "0" {
		return proto.UUID{}, nil
	}
	if _, err := strconv.ParseUint(v, 0, 16); err == nil {
		return proto.UUID{}, fmt.Errorf("option admin=%s: the number of a domain is another's after its reboot; give the uuid of its vTPM device at this manager", v)
	}
	u, err := proto.ParseUUID(v)
	if err == nil && u == (proto.UUID{}) {
		err = errors.New("the zero uuid names nobody")
	}
	if err != nil {
		return u, fmt.Errorf("option admin=%s: want 0 or a uuid: %w", v, err)
	}
	return u, nil
}

// parseOwnerAuth: well-known, text:<the value itself>, hash:<hex>. The text form
// is what `tpm2_changeauth -c owner <text>` sets. Errors never show the value.
func parseOwnerAuth(v string) ([]byte, error) {
	switch {
	case v == "well-known":
		return nil, nil
	case strings.HasPrefix(v, "text:"):
		b := []byte(v[len("text:"):])
		if len(b) > 32 {
			return nil, fmt.Errorf("option owner_auth=text: longer than 32 bytes")
		}
		return b, nil
	case strings.HasPrefix(v, "hash:"):
		b, err := hex.DecodeString(v[len("hash:"):])
		if err != nil || len(b) != 20 && len(b) != 32 {
			return nil, fmt.Errorf("option owner_auth=hash: want 40 or 64 hex digits")
		}
		return b, nil
	}
	return nil, fmt.Errorf("option owner_auth: want well-known, text:... or hash:...")
}

// OwnerAuth12 is the owner's authorisation as a TPM 1.2 has it.
func (o *Options) OwnerAuth12() []byte {
	if !o.OwnerText {
		return o.OwnerAuth
	}
	d := sha1.Sum(o.OwnerAuth)
	return d[:]
}

// parsePCRs reads "0-7,10" or "sha384:0-7".
func parsePCRs(v string) (proto.PCRSelection, error) {
	s := proto.PCRSelection{Alg: proto.AlgSHA256}
	list := v
	if bank, rest, ok := strings.Cut(v, ":"); ok {
		alg, known := map[string]uint16{"sha256": proto.AlgSHA256, "sha384": proto.AlgSHA384, "sha512": proto.AlgSHA512}[bank]
		if !known {
			return s, fmt.Errorf("option pcrs=%s: bank must be sha256, sha384 or sha512", v)
		}
		s.Alg, list = alg, rest
	}
	for _, part := range strings.Split(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		a, err := strconv.ParseUint(from, 10, 8)
		b := a
		if isRange && err == nil {
			b, err = strconv.ParseUint(to, 10, 8)
		}
		if err != nil || a > b || b > 23 {
			return s, fmt.Errorf("option pcrs=%s: want PCRs 0 to 23, as in 0-7,10", v)
		}
		for ; a <= b; a++ {
			s.Mask |= 1 << a
		}
	}
	return s, nil
}
