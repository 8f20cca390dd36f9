package tpm2

import "sort"

// CommandInfo tells of one command of the specification.
type CommandInfo struct {
	Name        string // with "TPM2_"
	Code        CC
	Implemented bool
}

// Commands lists all commands of the specification by code, for documentation
// and --print-capabilities. TPM2_HMAC and TPM2_HMAC_Start share code and form
// with TPM2_MAC and TPM2_MAC_Start.
func Commands() (list []CommandInfo) {
	for _, table := range commandTables() {
		for i := range table {
			d := &table[i]
			list = append(list, CommandInfo{"TPM2_" + d.name, d.cc, d.run != nil})
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Code < list[j].Code })
	return list
}
