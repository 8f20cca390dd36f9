package tpm2

// handleKind is the type of a handle in a command table: a TPMI_DH, TPMI_RH or
// TPMI_SH type of TPM20-P2 section 9.
type handleKind uint8

const (
	hObject      handleKind = iota + 1 // TPMI_DH_OBJECT
	hParent                            // TPMI_DH_PARENT
	hEntity                            // TPMI_DH_ENTITY
	hPCR                               // TPMI_DH_PCR
	hHierarchy                         // TPMI_RH_HIERARCHY, also TPMI_RH_BASE_HIERARCHY
	hHierAuth                          // TPMI_RH_HIERARCHY_AUTH
	hHierPolicy                        // TPMI_RH_HIERARCHY_POLICY
	hPlatform                          // TPMI_RH_PLATFORM
	hEndorsement                       // TPMI_RH_ENDORSEMENT
	hProvision                         // TPMI_RH_PROVISION
	hClear                             // TPMI_RH_CLEAR
	hLockout                           // TPMI_RH_LOCKOUT
	hNVAuth                            // TPMI_RH_NV_AUTH
	hNVIndex                           // TPMI_RH_NV_INDEX
	hHMAC                              // TPMI_SH_HMAC
	hPolicy                            // TPMI_SH_POLICY
	hContext                           // TPMI_DH_CONTEXT
	hACT                               // TPMI_RH_ACT
	hAC                                // TPMI_RH_AC
)

// authRole is the authorization that a command needs for a handle
// (TPM20-P1 section 19.2).
type authRole uint8

const (
	roleNone authRole = iota
	roleUser
	roleAdmin
	roleDup
)

// handleSpec describes one handle of a command.
type handleSpec struct {
	kind handleKind
	null bool // "+": TPM_RH_NULL is allowed
	role authRole
}

// cmdFlags are what a command table says beside handles and parameters.
type cmdFlags uint16

const (
	fNV         cmdFlags = 1 << iota // {NV}: may write NV
	fExtensive                       // {E}: may flush any number of contexts
	fFlush                           // {F}: flushes the transient object it uses
	fNoSessions                      // takes no sessions at all
	fDecrypt                         // first parameter is a TPM2B that a session can decrypt
	fEncrypt                         // first response parameter is a TPM2B that a session can encrypt
	fPP                              // TPM2_PP_Commands can make it need physical presence
	fPPAlways                        // needs physical presence always
	fNVRead                          // its NV Index handle authorizes reading data
	fNVWrite                         // its NV Index handle authorizes changing data
	fRspHandle                       // the response has a handle
	fReadOnlyOK                      // allowed in Read-Only mode (TPM20-P1, Read-Only mode)
	fFailureOK                       // allowed in failure mode
)

// command is one row of a command table.
type command struct {
	cc      CC
	name    string // without "TPM2_"
	handles []handleSpec
	flags   cmdFlags
	run     func(t *TPM, c *call) RC // nil: not implemented
}

// commandSlots covers the codes from TPM_CC_NV_UndefineSpaceSpecial on, and the
// one vendor command in the last slot.
const (
	commandSlots = 0x1AA - 0x11F + 2
	vendorSlot   = commandSlots - 1
)

func commandSlot(cc CC) int {
	switch {
	case cc == TPM_CC_Vendor_TCG_Test:
		return vendorSlot
	case cc < ccFirst || cc >= ccFirst+vendorSlot:
		return -1
	}
	return int(cc - ccFirst)
}

// commandTables lists the group tables; table_<group>.go has each.
func commandTables() [][]command {
	return [][]command{
		tableStartup, tableSession, tableObject, tableDuplication, tableAsymmetric,
		tableSymmetric, tableRandom, tableSequence, tableAttestation, tableSigning,
		tableIntegrity, tablePolicy, tableHierarchy, tableDA, tableMisc, tableContext,
		tableClock, tableCapability, tableNV, tableVendor,
	}
}

// indexCommands arranges the implemented rows that a profile offers by code.
func indexCommands(p *Profile) (index [commandSlots]*command) {
	for _, table := range commandTables() {
		for i := range table {
			if d := &table[i]; d.run != nil && p.command(d.cc) {
				index[commandSlot(d.cc)] = d
			}
		}
	}
	return index
}

// command returns the row of a command that the TPM offers, nil if there is none.
func (t *TPM) command(cc CC) *command {
	i := commandSlot(cc)
	if i < 0 {
		return nil
	}
	return t.commands[i]
}

// attributes returns the TPMA_CC of a command.
func (d *command) attributes() uint32 {
	a := uint32(d.cc) & 0xFFFF
	bits := func(f cmdFlags, bit uint) {
		if d.flags&f != 0 {
			a |= 1 << bit
		}
	}
	bits(fNV, 22)
	bits(fExtensive, 23)
	bits(fFlush, 24)
	a |= uint32(len(d.handles)) << 25
	bits(fRspHandle, 28)
	if d.cc&0x20000000 != 0 {
		a |= 1 << 29
	}
	return a
}

// roles returns how many handles need an authorization; they come first.
func (d *command) roles() int {
	n := 0
	for i := range d.handles {
		if d.handles[i].role != roleNone {
			n = i + 1
		}
	}
	return n
}
