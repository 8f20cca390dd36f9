/*
 * Drives a blkif ring through Xen's own macros (io/ring.h) with a fixed
 * pseudo-random script and prints every step and its outcome, for ring_test.go
 * to repeat. Steps: P n = frontend puts up to n requests and pushes; R n = backend
 * takes up to n and answers them; T n = frontend takes up to n responses; FA, BA
 * = final check of front, back.
 *
 *	cc -D__XEN_TOOLS__ -I <headers> trace.c -o trace && ./trace > blkif-trace.txt
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <xen/xen.h>
#define xen_mb()  __sync_synchronize()
#define xen_rmb() __sync_synchronize()
#define xen_wmb() __sync_synchronize()
#include <xen/io/ring.h>
#include <xen/io/blkif.h>

static unsigned seed = 12345;
static unsigned rnd(unsigned n) { seed = seed * 1103515245 + 12345; return (seed >> 16) % n; }

int main(void)
{
	static char page[4096] __attribute__((aligned(4096)));
	blkif_sring_t *s = (void *)page;
	blkif_front_ring_t f;
	blkif_back_ring_t b;

	SHARED_RING_INIT(s);
	FRONT_RING_INIT(&f, s, 4096);
	BACK_RING_INIT(&b, s, 4096);
	for (int step = 0; step < 3000; step++) {
		unsigned n = 1 + rnd(12), done = 0;
		int flag = 0;
		switch (rnd(5)) {
		case 0:
			while (done < n && !RING_FULL(&f)) { f.req_prod_pvt++; done++; }
			RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&f, flag);
			printf("P %u", n);
			break;
		case 1:
			while (done < n && b.req_cons != b.sring->req_prod) { b.req_cons++; b.rsp_prod_pvt++; done++; }
			RING_PUSH_RESPONSES_AND_CHECK_NOTIFY(&b, flag);
			printf("R %u", n);
			break;
		case 2:
			while (done < n && f.rsp_cons != f.sring->rsp_prod) { f.rsp_cons++; done++; }
			printf("T %u", n);
			break;
		case 3:
			f.sring->rsp_event = f.rsp_cons + 1; xen_mb();
			flag = f.sring->rsp_prod != f.rsp_cons;
			printf("FA 0");
			break;
		case 4:
			b.sring->req_event = b.req_cons + 1; xen_mb();
			flag = b.sring->req_prod != b.req_cons;
			printf("BA 0");
			break;
		}
		printf(" %u %d %u %u %u %u\n", done, flag, s->req_prod, s->req_event, s->rsp_prod, s->rsp_event);
	}
	return 0;
}
