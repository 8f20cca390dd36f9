package main

import (
	"fmt"
	"strings"
)

// runCompletion prints a completion script; the words are this program's own.
func runCompletion(e *env, args []string) error {
	rest, err := e.parse(args, 1, nil)
	if err != nil {
		return err
	}
	if rest[0] != "bash" {
		return errUsage
	}
	first, second := map[string]bool{}, map[string][]string{}
	var order []string
	for _, c := range commands() {
		a, b, two := strings.Cut(c.name, " ")
		if !first[a] {
			first[a] = true
			order = append(order, a)
		}
		if two {
			second[a] = append(second[a], b)
		}
	}
	fmt.Fprintf(e.out, "# bash completion for vtpmctl; install as vtpmctl in the completions folder\n_vtpmctl() {\n"+
		"\tlocal cur=${COMP_WORDS[COMP_CWORD]}\n\tcase \"$COMP_CWORD:${COMP_WORDS[1]}\" in\n\t1:*) COMPREPLY=($(compgen -W '%s' -- \"$cur\"));;\n", strings.Join(order, " "))
	for _, a := range order {
		if len(second[a]) > 0 {
			fmt.Fprintf(e.out, "\t2:%s) COMPREPLY=($(compgen -W '%s' -- \"$cur\"));;\n", a, strings.Join(second[a], " "))
		}
	}
	fmt.Fprint(e.out, "\t*) COMPREPLY=($(compgen -W '--json --device --group --key --policy --authority --recovery --overwrite --from --pcrs --dry-run' -- \"$cur\") $(compgen -f -- \"$cur\"));;\n\tesac\n}\ncomplete -F _vtpmctl vtpmctl\n")
	return nil
}

// runMan prints the manual page.
func runMan(e *env, args []string) error {
	if _, err := e.parse(args, 0, nil); err != nil {
		return err
	}
	esc := strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace
	fmt.Fprintf(e.out, ".TH VTPMCTL 8\n.SH NAME\nvtpmctl \\- administer the Xen vTPM manager\n.SH SYNOPSIS\n.B vtpmctl\n.I COMMAND\n[\\-\\-json] [\\-\\-device /dev/tpmN] ...\n"+
		".SH DESCRIPTION\nRuns in domain 0 and speaks to the manager domain through domain 0's own vTPM device, which\n.B xl vtpm\\-attach 0 backend=vtpmmgr uuid=...\nattaches. No daemon is needed.\n.PP\n.B vtpmctl start\nneeds no manager. It reads the kernel= of each configuration, verifies that image with all of its folder\nby the policy in /etc/xenvtpm/trust, and runs\n.B xl create\nonly when every image is accepted.\n.SH COMMANDS\n")
	for _, c := range commands() {
		fmt.Fprintf(e.out, ".TP\n.B %s\n%s\n.br\n%s\n", esc(c.name), esc(c.args), esc(c.help))
	}
	fmt.Fprint(e.out, ".SH EXIT STATUS\n0 done; 1 the manager refused, an image was refused, or a check failed; 2 wrong use, or it could not be done\n.SH SEE ALSO\nxl(1), docs/operations.md, docs/manager\\-protocol.md\n")
	return nil
}
