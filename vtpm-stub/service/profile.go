package service

import (
	"errors"

	"xenvtpm/boot/startinfo"
	"xenvtpm/vtpm-stub/tpm2"
)

// profileOptions are profile=, and for the custom one algorithms= and commands=.
type profileOptions struct{ name, algorithms, commands string }

// take reports whether the option is one of them.
func (p *profileOptions) take(opt startinfo.Option) bool {
	dst := map[string]*string{"profile": &p.name, "algorithms": &p.algorithms, "commands": &p.commands}[opt.Key]
	if dst == nil || opt.Bare || opt.Value == "" || *dst != "" {
		return false // and so an unknown option
	}
	*dst = opt.Value
	return true
}

// profile returns what was asked for, nil for nothing.
func (p *profileOptions) profile() (*tpm2.Profile, error) {
	if p.algorithms != "" || p.commands != "" {
		if p.name == "" {
			return nil, errors.New("algorithms= and commands= are for profile=custom")
		}
		return tpm2.CustomProfile(p.name, 0, p.algorithms, p.commands)
	}
	if p.name == "" {
		return nil, nil
	}
	return tpm2.ProfileNamed(p.name)
}

// newProfile is the profile of a new TPM. RSA keys of 1024 bits are the business of rsa1024=.
func (o *Options) newProfile() *tpm2.Profile {
	p := o.Profile
	if p == nil {
		p = tpm2.DefaultProfile()
	}
	return p.WithoutRSA1024()
}
