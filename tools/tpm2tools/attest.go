package tpm2tools

import (
	"strings"
)

const signing = "-a sign|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted"

// attester makes a signing key and an ordinary one.
func (x *Run) attester(alg string) {
	x.do("tpm2_createprimary -C e -G "+alg+" -c ak.ctx "+signing, "tpm2_readpublic -c ak.ctx -f pem -o ak.pem",
		"tpm2_createprimary -C o -G ecc -c p.ctx --creation-data cd -d ch -t ct")
}

func testQuote(x *Run) {
	const check = "tpm2_checkquote -u ak.pem -m msg -s sig -f pcrs -g sha256 -q 0badcafe"
	type kind struct{ alg, verify string }
	for _, k := range few(x, 1,
		kind{"ecc256:ecdsa-sha256:null", check},
		kind{"rsa2048:rsassa-sha256:null", check},
		// tpm2_checkquote takes RSA signatures for PKCS #1 ones.
		kind{"rsa2048:rsapss-sha256:null",
			"openssl dgst -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-2 -verify ak.pem -signature plain msg2"},
	) {
		alg, verify := k.alg, k.verify
		x.attester(alg)
		scheme := strings.Split(alg, ":")[1]
		scheme = strings.TrimSuffix(scheme, "-sha256")
		x.do("tpm2_quote -c ak.ctx --scheme "+scheme+" -l sha1:0,1+sha256:0,1,16 -q 0badcafe -m msg -s sig -o pcrs -g sha256",
			"tpm2_quote -c ak.ctx --scheme "+scheme+" -l sha256:0 -q 0badcafe -m msg2 -s plain -f plain -g sha256", verify)
		x.has(x.do("tpm2_print -t TPMS_ATTEST msg"), "magic: ff544347", "type: 8018", "extraData: 0badcafe")
		wrong := strings.Replace(strings.Replace(verify, "0badcafe", "0badcaff", 1), "msg2", "msg", 1)
		if out, _, err := x.try(wrong); err == nil {
			x.fatalf("a wrong quote was verified: %s", out)
		}
	}
}

func testCertify(x *Run) {
	x.attester("rsa2048:rsassa-sha256:null")
	x.do("tpm2_certify -c p.ctx -C ak.ctx -g sha256 -o cert -s sig -f plain", "openssl dgst -sha256 -verify ak.pem -signature sig cert")
	x.do("tpm2_certifycreation -C ak.ctx -c p.ctx -d ch -t ct -g sha256 -o sig -f plain --attestation cert",
		"openssl dgst -sha256 -verify ak.pem -signature sig cert")
	x.write("data", "12345678")
	x.do("tpm2_nvdefine 0x1500040 -C o -s 8 -a ownerread|ownerwrite|authread", "tpm2_nvwrite 0x1500040 -C o -i data",
		"tpm2_nvcertify -C ak.ctx -c o -g sha256 -o sig -f plain --attestation cert --size 8 0x1500040",
		"openssl dgst -sha256 -verify ak.pem -signature sig cert")
	x.do("tpm2_gettime -c ak.ctx -g sha256 -o sig -f plain --attestation time -q 0102", "openssl dgst -sha256 -verify ak.pem -signature sig time")
}

func testCommandAudit(x *Run) {
	x.attester("rsa2048:rsassa-sha256:null")
	x.do("tpm2_setcommandauditstatus TPM2_CC_GetRandom", "tpm2_getrandom -o r 8")
	x.has(x.do("tpm2_getcap commands"), "TPM2_CC_GetRandom")
	x.do("tpm2_getcommandauditdigest -c ak.ctx -g sha256 -m msg -s sig -f plain", "openssl dgst -sha256 -verify ak.pem -signature sig msg")
	x.do("tpm2_setcommandauditstatus -c TPM2_CC_GetRandom")
}

// EKCertificate is the family for a TPM whose manufacturer certified the ECC P-256 endorsement key, as a manager does.
func EKCertificate() Family {
	return Family{"ekcertificate", "the certificate of the endorsement key, by tpm2_getekcertificate and OpenSSL", testEKCertificate}
}

func testEKCertificate(x *Run) {
	x.do("tpm2_createek -c ek.ctx -G ecc -f pem -u ek.pem", "tpm2_nvread 0x1c0000a -o ek.der", "openssl x509 -inform der -in ek.der -noout -pubkey -out cert.pem")
	x.same("ek.pem", "cert.pem")
	x.do("tpm2_getekcertificate -o ecc.der")
	x.same("ek.der", "ecc.der")
	x.deny("0x149", "tpm2_nvundefine 0x1c0000a -C o") // the platform defined it
}

func testCertifyX509(x *Run) {
	x.do("tpm2_createprimary -C o -G rsa2048:rsassa-sha256:null -c ca.ctx -a sign|fixedtpm|fixedparent|sensitivedataorigin|userwithauth",
		"tpm2_readpublic -c ca.ctx -f pem -o ca.pem", "tpm2_certifyX509certutil -o partial -d 3651")
	if !strings.HasPrefix(x.read("partial"), "\x30") {
		x.fatalf("the partial certificate is %x", x.read("partial"))
	}
}

func testEndorsement(x *Run) {
	for _, alg := range few(x, 1, "ecc", "rsa") {
		sig := map[string]string{"rsa": "rsassa", "ecc": "ecdsa"}[alg]
		x.do("tpm2_createek -c ek.ctx -G "+alg+" -f pem -u ek.pem", "tpm2_createak -C ek.ctx -c ak.ctx -G "+alg+" -g sha256 -s "+sig+" -u ak.pub -n ak.name")
		x.write("secret", "credential secret")
		x.do("tpm2_readpublic -c ek.ctx -o ek.tss")
		x.do("tpm2_makecredential -u ek.tss -s secret -n " + hexOf(x.read("ak.name")) + " -o cred")
		activate := []string{"tpm2_startauthsession --policy-session -S s.ses", "tpm2_policysecret -S s.ses -c e",
			"tpm2_activatecredential -c ak.ctx -C ek.ctx -i cred -o opened -P session:s.ses", "tpm2_flushcontext s.ses"}
		x.do(activate...)
		x.same("secret", "opened")
		// The same credential made without a TPM.
		x.do("tpm2_makecredential -T none -u ek.pem -s secret -n " + hexOf(x.read("ak.name")) + " -o cred -G " + alg)
		x.do(activate...)
		x.same("secret", "opened")
	}
}
