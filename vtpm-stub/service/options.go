package service

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"xenvtpm/boot/startinfo"
	"xenvtpm/vtpm-stub/tpm2"
)

// Options are what the command line of a vTPM domain may say. The names are
// those of Xen's own vTPM where it has the option.
type Options struct {
	Debug    bool          // loglevel=debug
	Quiet    bool          // loglevel=error
	Resume   bool          // save: start with TPM2_Startup(STATE); default is clear
	HWPCRs   uint32        // hwinitpcr=...: bit n: copy hardware PCR n at the start
	RSA1024  bool          // rsa1024=1: allow RSA keys of 1024 bits
	Profile  *tpm2.Profile // profile=, algorithms=, commands=: what a new TPM offers; nil: the default
	EKCerts  EKCerts       // ekcert=ecc|rsa|all|none; default ecc
	Reset    Reset         // reset=guest|announced|always|never; default guest
	NoDeep   bool          // deepquote=0: no vendor command for deep quotes
	Locality LocalityPolicy

	OpenPlatform bool // platform=open: platformAuth stays empty, for a firmware in the guest
}

// ParseOptions reads the command line. An unknown or malformed option is an
// error: a misspelt restriction must not be taken for none.
func ParseOptions(list startinfo.Options) (Options, error) {
	o := Options{EKCerts: CertECC}
	var localities []string
	var profile profileOptions
	for _, opt := range list {
		if profile.take(opt) {
			continue
		}
		if opt.Key == "locality" && !opt.Bare {
			localities = append(localities, opt.Value)
			continue
		}
		if err := o.set(opt); err != nil {
			return Options{}, fmt.Errorf("option %s: %w", opt.Key, err)
		}
	}
	var err error
	if o.Profile, err = profile.profile(); err != nil {
		return Options{}, fmt.Errorf("option profile: %w", err)
	}
	o.Locality, err = ParseLocality(localities)
	return o, err
}

func (o *Options) set(opt startinfo.Option) (err error) {
	switch {
	case opt.Key == "loglevel" && !opt.Bare:
		o.Debug, o.Quiet = opt.Value == "debug", opt.Value == "error"
		if !o.Debug && !o.Quiet && opt.Value != "info" {
			return errors.New("use error, info or debug")
		}
	case opt.Key == "clear" && opt.Bare:
		o.Resume = false
	case opt.Key == "save" && opt.Bare:
		o.Resume = true
	case opt.Key == "deactivated" && opt.Bare:
		return errors.New("a TPM 2.0 has no deactivated start")
	case opt.Key == "maintcmds" && opt.Value == "0":
	case (opt.Key == "hwinitpcr" || opt.Key == "hwinitpcrs") && !opt.Bare:
		o.HWPCRs, err = parsePCRs(opt.Value)
	case opt.Key == "rsa1024" && !opt.Bare:
		o.RSA1024, err = strconv.ParseBool(opt.Value)
	case opt.Key == "ekcert" && !opt.Bare:
		o.EKCerts, err = parseEKCerts(opt.Value)
	case opt.Key == "reset" && !opt.Bare:
		o.Reset, err = parseReset(opt.Value)
	case opt.Key == "platform" && (opt.Value == "open" || opt.Value == "closed"):
		o.OpenPlatform = opt.Value == "open"
	case opt.Key == "deepquote" && !opt.Bare:
		var on bool
		on, err = strconv.ParseBool(opt.Value)
		o.NoDeep = !on
	default:
		return errors.New("unknown, or without its value")
	}
	return err
}

// parsePCRs reads "all", "none" or a list of numbers and ranges.
func parsePCRs(s string) (uint32, error) {
	switch s {
	case "all":
		return 1<<pcrCount - 1, nil
	case "none":
		return 0, nil
	}
	return parseSet(s, pcrCount-1)
}

// parseSet reads a list such as "0,2-4" into a bit mask; no number may exceed
// max, which is below 32.
func parseSet(s string, max int) (uint32, error) {
	var mask uint32
	for _, part := range strings.Split(s, ",") {
		lo, hi, ranged := strings.Cut(part, "-")
		if !ranged {
			hi = lo
		}
		a, errA := strconv.ParseUint(lo, 10, 8)
		b, errB := strconv.ParseUint(hi, 10, 8)
		if errA != nil || errB != nil || a > b || b > uint64(max) {
			return 0, fmt.Errorf("%q is not a number or range within 0-%d", part, max)
		}
		for i := a; i <= b; i++ {
			mask |= 1 << i
		}
	}
	return mask, nil
}
