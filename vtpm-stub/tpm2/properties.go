package tpm2

import "xenvtpm/drivers/tpmid"

// What TPM2_GetCapability reports of this implementation.

type ptEntry struct{ property, value uint32 }

// properties returns all TPM_PT by number.
func (t *TPM) properties() []ptEntry {
	total := uint32(len(t.commandList()))
	vendor := uint32(0)
	if t.command(TPM_CC_Vendor_TCG_Test) != nil {
		vendor = 1
	}
	spec := t.profile.Specification()
	fixed := []ptEntry{
		{TPM_PT_FAMILY_INDICATOR, 0x322E3000}, // "2.0"
		{TPM_PT_LEVEL, 0},
		{TPM_PT_REVISION, spec.Revision},
		{TPM_PT_DAY_OF_YEAR, spec.DayOfYear},
		{TPM_PT_YEAR, spec.Year},
		{TPM_PT_MANUFACTURER, tpmid.Manufacturer},
		{TPM_PT_VENDOR_STRING_1, tpmid.VendorString(1)},
		{TPM_PT_VENDOR_STRING_2, tpmid.VendorString(2)},
		{TPM_PT_VENDOR_STRING_3, tpmid.VendorString(3)},
		{TPM_PT_VENDOR_STRING_4, tpmid.VendorString(4)},
		{TPM_PT_VENDOR_TPM_TYPE, 1},
		{TPM_PT_FIRMWARE_VERSION_1, uint32(tpmid.FirmwareVersion >> 32)},
		{TPM_PT_FIRMWARE_VERSION_2, uint32(tpmid.FirmwareVersion & 0xFFFFFFFF)},
		{TPM_PT_INPUT_BUFFER, maxDigestBuffer},
		{TPM_PT_HR_TRANSIENT_MIN, maxObjects},
		{TPM_PT_HR_PERSISTENT_MIN, 16},
		{TPM_PT_HR_LOADED_MIN, maxLoadedSessions},
		{TPM_PT_ACTIVE_SESSIONS_MAX, maxActiveSessions},
		{TPM_PT_PCR_COUNT, numPCR},
		{TPM_PT_PCR_SELECT_MIN, pcrSelectBytes},
		{TPM_PT_CONTEXT_GAP_MAX, contextGapMax},
		{TPM_PT_NV_COUNTERS_MAX, 0}, // no limit of their own
		{TPM_PT_NV_INDEX_MAX, maxNVIndex},
		{TPM_PT_MEMORY, 0},
		{TPM_PT_CLOCK_UPDATE, clockUpdateMS},
		{TPM_PT_CONTEXT_HASH, uint32(ticketHash)},
		{TPM_PT_CONTEXT_SYM, uint32(TPM_ALG_AES)},
		{TPM_PT_CONTEXT_SYM_SIZE, 256},
		{TPM_PT_ORDERLY_COUNT, maxOrderlyCount},
		{TPM_PT_MAX_COMMAND_SIZE, uint32(t.cfg.MaxCommand)},
		{TPM_PT_MAX_RESPONSE_SIZE, uint32(t.cfg.MaxCommand)},
		{TPM_PT_MAX_DIGEST, maxDigest},
		{TPM_PT_MAX_OBJECT_CONTEXT, uint32(min(maxContextSize, t.cfg.MaxCommand-contextOverhead))},
		{TPM_PT_MAX_SESSION_CONTEXT, maxContextSize},
		{TPM_PT_PS_FAMILY_INDICATOR, 1}, // PC Client
		{TPM_PT_PS_LEVEL, 0},
		{TPM_PT_PS_REVISION, 0x105},
		{TPM_PT_PS_DAY_OF_YEAR, 0},
		{TPM_PT_PS_YEAR, 0},
		{TPM_PT_SPLIT_MAX, 128},
		{TPM_PT_TOTAL_COMMANDS, total},
		{TPM_PT_LIBRARY_COMMANDS, total - vendor},
		{TPM_PT_VENDOR_COMMANDS, vendor},
		{TPM_PT_NV_BUFFER_MAX, maxNVBuffer},
		{TPM_PT_MODES, 0},
		{TPM_PT_MAX_CAP_BUFFER, maxCapBuffer},
	}
	if t.offer.ml() {
		fixed = append(fixed, ptEntry{TPM_PT_ML_PARAMETER_SETS, mlParameterSets})
	}
	if t.failure != 0 {
		return fixed
	}
	return append(fixed, t.variableProperties()...)
}

// variableProperties returns the PT_VAR group.
func (t *TPM) variableProperties() []ptEntry {
	loaded, active := t.loadedSessions()
	counters, transient := uint32(0), uint32(0)
	for _, ix := range t.perm.nv {
		if ix.pub.Attributes.nt() == TPM_NT_COUNTER {
			counters++
		}
	}
	for _, o := range t.ram.objects {
		if o == nil {
			transient++
		}
	}
	p := &t.perm
	free := max(0, maxNVBytes-t.nvUsed())
	return []ptEntry{
		{TPM_PT_PERMANENT, t.permanentAttrs()},
		{TPM_PT_STARTUP_CLEAR, t.startupClearAttrs()},
		{TPM_PT_HR_NV_INDEX, uint32(len(p.nv))},
		{TPM_PT_HR_LOADED, uint32(loaded)},
		{TPM_PT_HR_LOADED_AVAIL, uint32(maxLoadedSessions - loaded)},
		{TPM_PT_HR_ACTIVE, uint32(active)},
		{TPM_PT_HR_ACTIVE_AVAIL, uint32(maxActiveSessions - active)},
		{TPM_PT_HR_TRANSIENT_AVAIL, transient},
		{TPM_PT_HR_PERSISTENT, uint32(len(p.objects))},
		{TPM_PT_HR_PERSISTENT_AVAIL, uint32(min(t.persistentLimit()-len(p.objects), free/1024))},
		{TPM_PT_NV_COUNTERS, counters},
		{TPM_PT_NV_COUNTERS_AVAIL, uint32(min(maxNVIndices-len(p.nv), free/(nvOverhead+8+maxDigest)))},
		{TPM_PT_ALGORITHM_SET, p.algorithmSet},
		{TPM_PT_LOADED_CURVES, uint32(len(t.offer.eccCurves()))},
		{TPM_PT_LOCKOUT_COUNTER, p.failedTries},
		{TPM_PT_MAX_AUTH_FAIL, p.maxTries},
		{TPM_PT_LOCKOUT_INTERVAL, p.recoveryTime},
		{TPM_PT_LOCKOUT_RECOVERY, p.lockoutRecovery},
		{TPM_PT_NV_WRITE_RECOVERY, 0},
		{TPM_PT_AUDIT_COUNTER_0, uint32(p.auditCounter >> 32)},
		{TPM_PT_AUDIT_COUNTER_1, uint32(p.auditCounter)},
	}
}

// permanentAttrs is TPMA_PERMANENT (TPM20-P2 section 8.6).
func (t *TPM) permanentAttrs() uint32 {
	return bit(0, len(t.owner.auth) > 0) | bit(1, len(t.endorsement.auth) > 0) |
		bit(2, len(t.perm.lockoutAuth) > 0) | bit(8, t.perm.disableClear) |
		bit(9, t.inLockout()) | bit(10, true) // tpmGeneratedEPS
}

// startupClearAttrs is TPMA_STARTUP_CLEAR (TPM20-P2 section 8.7).
func (t *TPM) startupClearAttrs() uint32 {
	return bit(0, t.platform.enabled) | bit(1, t.owner.enabled) | bit(2, t.endorsement.enabled) |
		bit(3, t.sc.phEnableNV) | bit(4, t.sc.readOnly) | bit(31, t.ram.orderlyStart)
}

func bit(n uint, on bool) uint32 {
	if on {
		return 1 << n
	}
	return 0
}

type pcrProperty struct {
	property uint32
	bits     [pcrSelectBytes]byte
}

// pcrProperties returns all TPM_PT_PCR by number.
func (t *TPM) pcrProperties() (list []pcrProperty) {
	add := func(property uint32, has func(a pcrAttr) bool) {
		p := pcrProperty{property: property}
		for n := range numPCR {
			if has(t.pcrAttrs(n)) {
				p.bits[n/8] |= 1 << (n % 8)
			}
		}
		list = append(list, p)
	}
	add(TPM_PT_PCR_SAVE, func(a pcrAttr) bool { return a.save })
	for loc := range uint32(5) {
		add(TPM_PT_PCR_EXTEND_L0+2*loc, func(a pcrAttr) bool { return a.extendLoc&(1<<loc) != 0 })
		add(TPM_PT_PCR_RESET_L0+2*loc, func(a pcrAttr) bool { return a.resetLoc&(1<<loc) != 0 })
	}
	add(TPM_PT_PCR_NO_INCREMENT, func(a pcrAttr) bool { return a.noIncrement })
	add(TPM_PT_PCR_DRTM_RESET, func(a pcrAttr) bool { return a.drtm })
	add(TPM_PT_PCR_POLICY, func(a pcrAttr) bool { return a.group })
	add(TPM_PT_PCR_AUTH, func(a pcrAttr) bool { return a.group })
	return list
}
