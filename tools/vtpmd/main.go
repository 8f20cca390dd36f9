// Command vtpmd is a software TPM for Linux. "vtpmd socket" takes swtpm's
// command line and speaks its protocols, so that QEMU, libvirt and test
// suites can use it unchanged; "vtpmd proxy" makes a /dev/tpmN through the
// vTPM proxy driver, for containers.
//
// Exit codes: 0 done, 1 failure, 2 wrong use.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"xenvtpm/tools/vtpmd/options"
)

const usage = `vtpmd: a software TPM 2.0

usage:
  vtpmd socket [options]            serve a TPM on sockets (swtpm's options and protocols)
  vtpmd proxy [options]             make a /dev/tpmN, print its name as JSON and serve it
  vtpmd chardev [options]           as swtpm spells it: --vtpm-proxy, or an open character device
  vtpmd -v | --version

options (as in swtpm(8)):
  --tpm2                            a TPM 2.0
  --tpmstate dir=D[,mode=0640][,nofsync] | backend-uri=dir://D | backend-uri=file://F
                                    where state lives; nofsync gives up durability
  --server type=tcp,port=N[,bindaddr=A][,disconnect] | type=unixio,path=P | fd=N
                                    TPM commands (socket only)
  --vtpm-proxy | --chardev PATH, -c | --fd N
                                    where commands come from (chardev only)
  --ctrl type=tcp,port=N | type=unixio,path=P[,mode=0770][,uid=U][,gid=G] | fd=N | clientfd=N
                                    control channel
  --flags not-need-init,startup-clear|startup-state|startup-none,rsa1024
  --locality reject-locality-4,allow-set-locality
  --key, --migration-key file=F|fd=N[,format=hex|binary] | pwdfile=F|pwdfd=N[,kdf=pbkdf2|sha512][,remove]
                                    encrypt state at rest, or in blobs on the control channel
  --log file=F|fd=N[,level=N][,prefix=P][,truncate]
  --pid file=F|fd=N                 --daemon, -d      --terminate, -t    --runas USER
  --profile name=N|profile=JSON|file=F|fd=N[,remove-disabled=check|fips-host|false]
                                    what a new TPM offers: default-v1 (default), null, xenvtpm-v1 or custom
  --seccomp action=kill|log|none    --print-states    --print-capabilities    --print-profiles
`

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run does the work; its result is the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	var err error
	switch args[0] {
	case "-h", "--help", "help":
		fmt.Fprint(stdout, usage)
	case "-v", "--version":
		fmt.Fprintf(stdout, "vtpmd %s (speaks swtpm's protocol of %s)\n", version(), protocolVersion)
	case "socket":
		err = socketMain(args[1:], stdout)
	case "proxy":
		err = deviceMain("proxy", args[1:], stdout)
	case "chardev":
		err = deviceMain("chardev", args[1:], stdout)
	case "cuse":
		err = fmt.Errorf("%w: there is no cuse interface here; vtpmd proxy makes a /dev/tpmN", options.ErrUsage)
	default:
		err = fmt.Errorf("%w: unknown subcommand %q; see vtpmd --help", options.ErrUsage, args[0])
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, options.ErrUsage):
		fmt.Fprintln(stderr, "vtpmd:", err)
		return 2
	}
	fmt.Fprintln(stderr, "vtpmd:", err)
	return 1
}
