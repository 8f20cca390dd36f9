package tpm2

import "encoding/binary"

// headerSize is tag, size and code.
const headerSize = 10

// Execute runs one command at a locality (0 to 4, or 32 to 255 extended) and
// returns the response, which is in rspBuf when that has at least 4096 octets.
// cmd is not changed or kept. There is always a well-formed response.
func (t *TPM) Execute(locality uint8, cmd, rspBuf []byte) []byte {
	if cap(rspBuf) < maxResponseSize {
		rspBuf = make([]byte, maxResponseSize)
	}
	rspBuf = rspBuf[:0:t.cfg.MaxCommand]
	t.call.reset()
	t.call.locality = locality
	rc := t.execute(cmd, rspBuf)
	// No secret stays here, and nothing that was kept may alias the buffer.
	clear(t.cmdBuf[:min(len(cmd), len(t.cmdBuf))])
	if t.dirty && t.failure == 0 {
		if err := t.save(); err != nil {
			t.broken = true
			rc = t.fail(TPM_RC_FAILURE, "permanent state could not be saved: "+err.Error())
		}
	}
	if rc != TPM_RC_SUCCESS {
		return errorResponse(rspBuf, rc)
	}
	return t.call.out.b
}

// errorResponse has tag TPM_ST_NO_SESSIONS for TPM_RC_BAD_TAG too, where TPM20-P3 section 5.2
// has TPM_ST_RSP_COMMAND: that is the tag of a TPM 1.2, and firmware that probes with a
// command of TPM 1.2 (EDK2) would take this TPM for one and not start it.
func errorResponse(buf []byte, rc RC) []byte {
	buf = binary.BigEndian.AppendUint16(buf[:0], uint16(TPM_ST_NO_SESSIONS))
	buf = binary.BigEndian.AppendUint32(buf, headerSize)
	return binary.BigEndian.AppendUint32(buf, uint32(rc))
}

// execute is TPM20-P3 clause 5 in its order. On success the response is in
// t.call.out.
func (t *TPM) execute(cmd, rsp []byte) RC {
	c := &t.call
	if rc := t.checkHeader(cmd); rc != TPM_RC_SUCCESS {
		return rc
	}
	body := t.cmdBuf[:copy(t.cmdBuf[:], cmd[headerSize:])]
	if rc := t.checkMode(); rc != TPM_RC_SUCCESS {
		return rc
	}
	t.tick()
	in := reader{b: body}
	if rc := t.readHandles(&in); rc != TPM_RC_SUCCESS {
		return rc
	}
	if rc := t.checkReadOnlyNV(); rc != TPM_RC_SUCCESS {
		return rc
	}
	if rc := t.readSessions(&in); rc != TPM_RC_SUCCESS {
		return rc
	}
	c.params = in.b
	if rc := t.authorize(); rc != TPM_RC_SUCCESS {
		return rc
	}
	if rc := t.decryptParam(); rc != TPM_RC_SUCCESS {
		return rc
	}
	c.in = reader{b: c.params, profile: t.offer}
	t.beginResponse(rsp)
	if rc := c.def.run(t, c); rc != TPM_RC_SUCCESS {
		return rc
	}
	return t.finishResponse()
}

func (t *TPM) checkHeader(cmd []byte) RC {
	c := &t.call
	if len(cmd) < headerSize {
		return TPM_RC_COMMAND_SIZE
	}
	tag := ST(binary.BigEndian.Uint16(cmd))
	switch tag {
	case TPM_ST_SESSIONS:
		c.tagged = true
	case TPM_ST_NO_SESSIONS:
	default:
		return TPM_RC_BAD_TAG
	}
	if size := binary.BigEndian.Uint32(cmd[2:]); int64(size) != int64(len(cmd)) || len(cmd) > t.cfg.MaxCommand {
		return TPM_RC_COMMAND_SIZE
	}
	c.def = t.command(CC(binary.BigEndian.Uint32(cmd[6:])))
	if c.def == nil {
		return TPM_RC_COMMAND_CODE
	}
	return TPM_RC_SUCCESS
}

// checkMode is TPM20-P3 section 5.3.
func (t *TPM) checkMode() RC {
	c := &t.call
	if t.failure != 0 {
		if c.def.flags&fFailureOK == 0 || c.tagged {
			return TPM_RC_FAILURE
		}
		return TPM_RC_SUCCESS
	}
	if !t.ram.started && c.def.cc != TPM_CC_Startup {
		return TPM_RC_INITIALIZE
	}
	if t.sc.readOnly && c.def.flags&fReadOnlyOK == 0 {
		return TPM_RC_READ_ONLY
	}
	return TPM_RC_SUCCESS
}

// checkReadOnlyNV allows changes of an NV Index in Read-Only mode only where
// nothing of them lasts (TPM20-P3 table 207).
func (t *TPM) checkReadOnlyNV() RC {
	c := &t.call
	changes := c.def.flags&fNVWrite != 0 || c.def.cc == TPM_CC_NV_ReadLock
	if !t.sc.readOnly || !changes {
		return TPM_RC_SUCCESS
	}
	if ix := c.nv(1); ix != nil && !ix.pub.Attributes.has(nvOrderly|nvClearStClear) {
		return TPM_RC_READ_ONLY
	}
	return TPM_RC_SUCCESS
}

// beginResponse leaves room for the header, the handle and parameterSize.
func (t *TPM) beginResponse(rsp []byte) {
	c := &t.call
	n := headerSize
	if c.def.flags&fRspHandle != 0 {
		n += 4
	}
	if c.tagged {
		n += 4
	}
	c.out = writer{b: rsp[:n]}
	c.rspStart = n
}

// finishResponse fills in what beginResponse left out, encrypts the first
// parameter and appends the sessions (TPM20-P3 section 5.9).
func (t *TPM) finishResponse() RC {
	c := &t.call
	if c.out.full || !t.fits(0) {
		return t.tooLarge()
	}
	b := c.out.b
	if c.def.flags&fRspHandle != 0 {
		binary.BigEndian.PutUint32(b[headerSize:], uint32(c.rspH))
	}
	tag := TPM_ST_NO_SESSIONS
	if c.tagged {
		tag = TPM_ST_SESSIONS
		binary.BigEndian.PutUint32(b[c.rspStart-4:], uint32(len(b)-c.rspStart))
	}
	binary.BigEndian.PutUint32(b[6:], uint32(TPM_RC_SUCCESS))
	t.endExclusive()
	if !c.tagged {
		t.extendCommandAudit()
	} else {
		t.respondSessions()
		if c.out.full {
			return t.fail(TPM_RC_FAILURE, "sessions of TPM2_"+c.def.name+" larger than the buffer")
		}
	}
	b = c.out.b
	binary.BigEndian.PutUint16(b, uint16(tag))
	binary.BigEndian.PutUint32(b[2:], uint32(len(b)))
	return TPM_RC_SUCCESS
}

// tooLarge is the end of a command whose response does not go into what Config.MaxCommand
// allows: TPM_RC_SIZE, and what the command loaded is flushed again. In a buffer of full size
// every response fits; there it is a fault of this program.
func (t *TPM) tooLarge() RC {
	c := &t.call
	if t.cfg.MaxCommand == maxResponseSize {
		return t.fail(TPM_RC_FAILURE, "response of TPM2_"+c.def.name+" larger than the buffer")
	}
	if c.def.flags&fRspHandle != 0 && c.rspH.Type() == TPM_HT_TRANSIENT {
		t.flushObject(c.rspH)
	}
	return TPM_RC_SIZE
}
