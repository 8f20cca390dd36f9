package clienttest

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xenvtpm/drivers/tpmid"
)

// TestSetup lets swtpm_setup, which libvirt starts for a new TPM, make a TPM with
// endorsement keys and their certificates.
func TestSetup(t *testing.T) {
	need(t, "swtpm_setup", "swtpm_cert", "certtool")
	state, dir := t.TempDir(), t.TempDir()
	c := client{t: t, dir: dir}
	localca := "/usr/bin/swtpm_localca"
	if _, err := os.Stat(localca); err != nil {
		localca = "/usr/share/swtpm/swtpm-localca"
	}
	// A certificate authority of the test's own.
	c.write("localca.conf", "statedir = "+dir+"\nsigningkey = "+c.path("signkey.pem")+"\nissuercert = "+c.path("issuer.pem")+"\ncertserial = "+c.path("serial")+"\n")
	c.write("localca.options", "--platform-manufacturer Example\n--platform-version 1\n--platform-model Test\n")
	c.write("setup.conf", "create_certs_tool = "+localca+"\ncreate_certs_tool_config = "+c.path("localca.conf")+"\ncreate_certs_tool_options = "+c.path("localca.options")+"\n")
	// swtpm_setup splits this at spaces, which a temporary folder's path may have.
	if err := os.Symlink(vtpmd, c.path("vtpmd")); err != nil {
		t.Fatal(err)
	}
	c.run("swtpm_setup", "--tpm", "./vtpmd socket", "--tpm2", "--tpmstate", state, "--create-ek-cert", "--create-platform-cert", "--create-spk",
		"--lock-nvram", "--pcr-banks", "sha256,sha384", "--config", c.path("setup.conf"), "--logfile", c.path("log"))

	d := startUnix(t, state, "--flags", "not-need-init,startup-clear")
	for _, ek := range []struct{ handle, index uint32 }{{0x81010001, 0x01c00002}, {0x81010016, 0x01c00016}} {
		cert, err := x509.ParseCertificate(d.readAll(ek.index))
		if err != nil {
			t.Errorf("the certificate in 0x%x: %v", ek.index, err)
			continue
		}
		// The key's number in the certificate is in the TPM's public area.
		spki := cert.RawSubjectPublicKeyInfo
		public := d.tpm(binary.BigEndian.AppendUint32(hx("80010000000e00000173"), ek.handle))
		if part := spki[len(spki)-40 : len(spki)-8]; !bytes.Contains(public, part) {
			t.Errorf("the certificate in 0x%x is for another key than 0x%x", ek.index, ek.handle)
		}
		if !bytes.Contains(cert.Raw, d.specification()) {
			t.Errorf("the certificate in 0x%x does not follow the TPM's revision", ek.index)
		}
		for _, said := range []string{tpmid.CertManufacturer(), tpmid.Model, tpmid.CertVersion()} {
			if !bytes.Contains(cert.Raw, []byte(said)) {
				t.Errorf("the certificate in 0x%x does not say %s", ek.index, said)
			}
		}
	}
	// The banks, and the locked index.
	if out := d.tpm(hx("8001000000160000017a000000050000000000000001")); !bytes.Contains(out, hx("000bffffff")) && !bytes.Contains(out, hx("000b03ffffff")) ||
		!bytes.Contains(out, hx("000c03ffffff")) || bytes.Contains(out, hx("000403ffffff")) {
		t.Errorf("PCR banks: %x", out)
	}
	if out := c.read("log"); !strings.Contains(out, "Successfully authored TPM state") {
		t.Errorf("the log: %s", out)
	}
	if _, err := os.Stat(filepath.Join(state, "tpm2-00.permall")); err != nil {
		t.Error(err)
	}
}

// specification is what a certificate says of the TPM's TPM_PT_REVISION: tcg-at-tpmSpecification.
func (d *unixDaemon) specification() []byte {
	rsp := d.tpm(hx("80010000001600000" + "17a" + "000000060000010200000001"))
	der, err := asn1.Marshal(struct {
		Family          string `asn1:"utf8"`
		Level, Revision int
	}{"2.0", 0, int(binary.BigEndian.Uint32(rsp[23:]))})
	if err != nil {
		d.t.Fatal(err)
	}
	return der
}

// readAll reads an index with its own, empty, authorization.
func (d *unixDaemon) readAll(index uint32) []byte {
	d.t.Helper()
	public := d.tpm(binary.BigEndian.AppendUint32(hx("80010000000e00000169"), index))
	// Response: header, u16 size, index, nameAlg, attributes, u16 policy size and policy, u16 data size.
	policy := int(binary.BigEndian.Uint16(public[22:]))
	size := int(binary.BigEndian.Uint16(public[24+policy:]))
	var all []byte
	for len(all) < size {
		n := min(1024, size-len(all))
		cmd := hx("8002000000230000014e")
		cmd = binary.BigEndian.AppendUint32(cmd, index)
		cmd = binary.BigEndian.AppendUint32(cmd, index)
		cmd = append(cmd, hx("00000009400000090000000000")...)
		cmd = binary.BigEndian.AppendUint16(cmd, uint16(n))
		cmd = binary.BigEndian.AppendUint16(cmd, uint16(len(all)))
		rsp := d.tpm(cmd)
		all = append(all, rsp[16:16+n]...)
	}
	return all
}
