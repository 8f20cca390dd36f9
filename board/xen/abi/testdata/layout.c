/*
 * Prints the numbers that package abi pins, as the C compiler sees them in
 * Xen's public headers: one "name value" per line.
 *
 *	cc -D__XEN_TOOLS__ -I <headers> layout.c -o layout && ./layout > xen-4.17-x86_64.txt
 *
 * The headers are those of Debian 12's libxen-dev (usr/include of the package).
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define XEN_ERRNO(name, value) XEN_##name = value,
enum xen_errno {
#include <xen/errno.h>
};
#include <xen/xen.h>
#include <xen/memory.h>
#include <xen/sched.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/version.h>
#include <xen/vcpu.h>
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/params.h>
#include <xen/arch-x86/cpuid.h>
#include <xen/arch-x86/hvm/start_info.h>
#include <xen/elfnote.h>
#include <xen/io/ring.h>
#include <xen/io/blkif.h>
#include <xen/io/console.h>
#include <xen/io/protocols.h>
#include <xen/io/tpmif.h>
#include <xen/io/xenbus.h>
#include <xen/io/xs_wire.h>

#define N(name, value) printf("%s %lld\n", name, (long long)(value))
#define C(name) N(#name, name)
#define O(name, type, member) N(name, offsetof(type, member))
#define S(name, type) N(name, sizeof(type))

int main(void)
{
	N("HYPERVISOR_memory_op", __HYPERVISOR_memory_op);
	N("HYPERVISOR_xen_version", __HYPERVISOR_xen_version);
	N("HYPERVISOR_console_io", __HYPERVISOR_console_io);
	N("HYPERVISOR_grant_table_op", __HYPERVISOR_grant_table_op);
	N("HYPERVISOR_vcpu_op", __HYPERVISOR_vcpu_op);
	N("HYPERVISOR_sched_op", __HYPERVISOR_sched_op);
	N("HYPERVISOR_event_channel_op", __HYPERVISOR_event_channel_op);
	N("HYPERVISOR_hvm_op", __HYPERVISOR_hvm_op);
	N("CPUID_FIRST_LEAF", XEN_CPUID_FIRST_LEAF);
	N("CPUID_SIGNATURE_1", XEN_CPUID_SIGNATURE_EBX);
	N("CPUID_SIGNATURE_2", XEN_CPUID_SIGNATURE_ECX);
	N("CPUID_SIGNATURE_3", XEN_CPUID_SIGNATURE_EDX);
	C(DOMID_FIRST_RESERVED); C(DOMID_SELF); C(DOMID_IO); C(DOMID_XEN);
	C(DOMID_COW); C(DOMID_INVALID); C(DOMID_IDLE);

	C(SCHEDOP_yield); C(SCHEDOP_block); C(SCHEDOP_shutdown); C(SCHEDOP_poll);
	C(SHUTDOWN_poweroff); C(SHUTDOWN_reboot); C(SHUTDOWN_suspend);
	C(SHUTDOWN_crash); C(SHUTDOWN_watchdog); C(SHUTDOWN_soft_reset);
	S("SchedPollSize", struct sched_poll);
	O("SchedPollPorts", struct sched_poll, ports);
	O("SchedPollNrPorts", struct sched_poll, nr_ports);
	O("SchedPollTimeout", struct sched_poll, timeout);

	C(XENMEM_add_to_physmap); C(XENMEM_remove_from_physmap);
	C(XENMAPSPACE_shared_info); C(XENMAPSPACE_grant_table);
	S("AddToPhysmapSize", struct xen_add_to_physmap);
	O("AddToPhysmapDomid", struct xen_add_to_physmap, domid);
	O("AddToPhysmapSpace", struct xen_add_to_physmap, space);
	O("AddToPhysmapIdx", struct xen_add_to_physmap, idx);
	O("AddToPhysmapGPFN", struct xen_add_to_physmap, gpfn);
	C(HVMOP_set_param); C(HVMOP_get_param);
	C(HVM_PARAM_CALLBACK_IRQ); C(HVM_PARAM_STORE_PFN); C(HVM_PARAM_STORE_EVTCHN);
	C(HVM_PARAM_CONSOLE_PFN); C(HVM_PARAM_CONSOLE_EVTCHN);
	S("HVMParamSize", struct xen_hvm_param);
	O("HVMParamDomid", struct xen_hvm_param, domid);
	O("HVMParamIndex", struct xen_hvm_param, index);
	O("HVMParamValue", struct xen_hvm_param, value);
	C(XENVER_version); C(XENVER_extraversion); C(XENVER_get_features);
	C(CONSOLEIO_write); C(CONSOLEIO_read);

	O("SharedInfoVCPUInfo", struct shared_info, vcpu_info);
	O("SharedInfoEvtchnPending", struct shared_info, evtchn_pending);
	O("SharedInfoEvtchnMask", struct shared_info, evtchn_mask);
	O("SharedInfoWCVersion", struct shared_info, wc_version);
	O("SharedInfoWCSec", struct shared_info, wc_sec);
	O("SharedInfoWCNsec", struct shared_info, wc_nsec);
	O("SharedInfoWCSecHi", struct shared_info, wc_sec_hi);
	N("EvtchnWords", sizeof(((struct shared_info *)0)->evtchn_pending) / 8);
	N("EvtchnPorts", EVTCHN_2L_NR_CHANNELS);
	S("VCPUInfoSize", struct vcpu_info);
	O("VCPUInfoEvtchnUpcallPending", struct vcpu_info, evtchn_upcall_pending);
	O("VCPUInfoEvtchnUpcallMask", struct vcpu_info, evtchn_upcall_mask);
	O("VCPUInfoEvtchnPendingSel", struct vcpu_info, evtchn_pending_sel);
	O("VCPUInfoTime", struct vcpu_info, time);
	S("VCPUTimeInfoSize", struct vcpu_time_info);
	O("VCPUTimeInfoVersion", struct vcpu_time_info, version);
	O("VCPUTimeInfoTSCTimestamp", struct vcpu_time_info, tsc_timestamp);
	O("VCPUTimeInfoSystemTime", struct vcpu_time_info, system_time);
	O("VCPUTimeInfoTSCToSystemMul", struct vcpu_time_info, tsc_to_system_mul);
	O("VCPUTimeInfoTSCShift", struct vcpu_time_info, tsc_shift);
	O("VCPUTimeInfoFlags", struct vcpu_time_info, flags);

	C(EVTCHNOP_bind_interdomain); C(EVTCHNOP_bind_virq); C(EVTCHNOP_close);
	C(EVTCHNOP_send); C(EVTCHNOP_status); C(EVTCHNOP_alloc_unbound);
	C(EVTCHNOP_unmask); C(EVTCHNOP_reset);
	S("EvtchnBindInterdomainSize", struct evtchn_bind_interdomain);
	O("EvtchnBindInterdomainRemoteDom", struct evtchn_bind_interdomain, remote_dom);
	O("EvtchnBindInterdomainRemotePort", struct evtchn_bind_interdomain, remote_port);
	O("EvtchnBindInterdomainLocalPort", struct evtchn_bind_interdomain, local_port);
	S("EvtchnAllocUnboundSize", struct evtchn_alloc_unbound);
	O("EvtchnAllocUnboundDom", struct evtchn_alloc_unbound, dom);
	O("EvtchnAllocUnboundRemoteDom", struct evtchn_alloc_unbound, remote_dom);
	O("EvtchnAllocUnboundPort", struct evtchn_alloc_unbound, port);
	S("EvtchnPortSize", struct evtchn_send);

	C(GNTTABOP_map_grant_ref); C(GNTTABOP_unmap_grant_ref); C(GNTTABOP_setup_table);
	C(GNTTABOP_copy); C(GNTTABOP_query_size); C(GNTTABOP_set_version); C(GNTTABOP_get_version);
	S("GrantEntrySize", struct grant_entry_v1);
	O("GrantEntryFlags", struct grant_entry_v1, flags);
	O("GrantEntryDomid", struct grant_entry_v1, domid);
	O("GrantEntryFrame", struct grant_entry_v1, frame);
	C(GNTTAB_NR_RESERVED_ENTRIES);
	C(GTF_invalid); C(GTF_permit_access); C(GTF_type_mask); C(GTF_readonly); C(GTF_reading); C(GTF_writing);
	S("GnttabMapSize", struct gnttab_map_grant_ref);
	O("GnttabMapHostAddr", struct gnttab_map_grant_ref, host_addr);
	O("GnttabMapFlags", struct gnttab_map_grant_ref, flags);
	O("GnttabMapRef", struct gnttab_map_grant_ref, ref);
	O("GnttabMapDom", struct gnttab_map_grant_ref, dom);
	O("GnttabMapStatus", struct gnttab_map_grant_ref, status);
	O("GnttabMapHandle", struct gnttab_map_grant_ref, handle);
	C(GNTMAP_device_map); C(GNTMAP_host_map); C(GNTMAP_readonly);
	S("GnttabUnmapSize", struct gnttab_unmap_grant_ref);
	O("GnttabUnmapHostAddr", struct gnttab_unmap_grant_ref, host_addr);
	O("GnttabUnmapHandle", struct gnttab_unmap_grant_ref, handle);
	O("GnttabUnmapStatus", struct gnttab_unmap_grant_ref, status);
	S("GnttabQuerySizeSize", struct gnttab_query_size);
	O("GnttabQuerySizeDom", struct gnttab_query_size, dom);
	O("GnttabQuerySizeNrFrames", struct gnttab_query_size, nr_frames);
	O("GnttabQuerySizeMaxNrFrames", struct gnttab_query_size, max_nr_frames);
	O("GnttabQuerySizeStatus", struct gnttab_query_size, status);
	C(GNTST_okay); C(GNTST_general_error); C(GNTST_bad_domain); C(GNTST_bad_gntref);
	C(GNTST_bad_handle); C(GNTST_bad_virt_addr); C(GNTST_bad_dev_addr); C(GNTST_no_device_space);
	C(GNTST_permission_denied); C(GNTST_bad_page); C(GNTST_bad_copy_arg); C(GNTST_address_too_big);
	C(GNTST_eagain); C(GNTST_no_space);

#define E(n) N(#n, XEN_##n)
	E(EPERM); E(ENOENT); E(ESRCH); E(EIO); E(E2BIG); E(ENOEXEC); E(EBADF); E(EAGAIN); E(ENOMEM); E(EACCES);
	E(EFAULT); E(EBUSY); E(EEXIST); E(EXDEV); E(ENODEV); E(ENOTDIR); E(EISDIR); E(EINVAL); E(EMFILE); E(ENOSPC);
	E(EROFS); E(ERANGE); E(ENOSYS); E(ENOTEMPTY); E(ENODATA); E(EISCONN); E(ENOTCONN); E(ETIMEDOUT);
	N("EOPNOTSUP", XEN_EOPNOTSUPP);

	C(XENSTORE_SERVER_FEATURE_RECONNECTION); C(XENSTORE_SERVER_FEATURE_ERROR);
	C(XENSTORE_CONNECTED); C(XENSTORE_RECONNECT);
	C(XENSTORE_PAYLOAD_MAX); C(XENSTORE_ABS_PATH_MAX); C(XENSTORE_REL_PATH_MAX);
	N("XenstoreRingSize", XENSTORE_RING_SIZE);
	O("XenstoreReq", struct xenstore_domain_interface, req);
	O("XenstoreRsp", struct xenstore_domain_interface, rsp);
	O("XenstoreReqCons", struct xenstore_domain_interface, req_cons);
	O("XenstoreReqProd", struct xenstore_domain_interface, req_prod);
	O("XenstoreRspCons", struct xenstore_domain_interface, rsp_cons);
	O("XenstoreRspProd", struct xenstore_domain_interface, rsp_prod);
	O("XenstoreServerFeatures", struct xenstore_domain_interface, server_features);
	O("XenstoreConnection", struct xenstore_domain_interface, connection);
	O("XenstoreError", struct xenstore_domain_interface, error);
	N("XenstoreEvtchnPort", offsetof(struct xenstore_domain_interface, error) + 4); /* newer than 4.17 */
	S("XSHeaderSize", struct xsd_sockmsg);
	O("XSType", struct xsd_sockmsg, type);
	O("XSReqID", struct xsd_sockmsg, req_id);
	O("XSTxID", struct xsd_sockmsg, tx_id);
	O("XSLen", struct xsd_sockmsg, len);
	C(XS_CONTROL); C(XS_DIRECTORY); C(XS_READ); C(XS_GET_PERMS); C(XS_WATCH); C(XS_UNWATCH);
	C(XS_TRANSACTION_START); C(XS_TRANSACTION_END); C(XS_INTRODUCE); C(XS_RELEASE);
	C(XS_GET_DOMAIN_PATH); C(XS_WRITE); C(XS_MKDIR); C(XS_RM); C(XS_SET_PERMS); C(XS_WATCH_EVENT);
	C(XS_ERROR); C(XS_IS_DOMAIN_INTRODUCED); C(XS_RESUME); C(XS_SET_TARGET); C(XS_RESET_WATCHES);
	C(XS_DIRECTORY_PART);

	N("ConsoleInSize", sizeof(((struct xencons_interface *)0)->in));
	N("ConsoleOutSize", sizeof(((struct xencons_interface *)0)->out));
	O("ConsoleIn", struct xencons_interface, in);
	O("ConsoleOut", struct xencons_interface, out);
	O("ConsoleInCons", struct xencons_interface, in_cons);
	O("ConsoleInProd", struct xencons_interface, in_prod);
	O("ConsoleOutCons", struct xencons_interface, out_cons);
	O("ConsoleOutProd", struct xencons_interface, out_prod);

	O("RingReqProd", struct blkif_sring, req_prod);
	O("RingReqEvent", struct blkif_sring, req_event);
	O("RingRspProd", struct blkif_sring, rsp_prod);
	O("RingRspEvent", struct blkif_sring, rsp_event);
	O("RingFirstSlot", struct blkif_sring, ring);
	N("BlkifSlotSize", sizeof(union blkif_sring_entry));
	N("BlkifSlots", __CONST_RING_SIZE(blkif, 4096));
	C(BLKIF_MAX_SEGMENTS_PER_REQUEST);
	O("BlkifReqOperation", struct blkif_request, operation);
	O("BlkifReqNrSegments", struct blkif_request, nr_segments);
	O("BlkifReqHandle", struct blkif_request, handle);
	O("BlkifReqID", struct blkif_request, id);
	O("BlkifReqSectorNumber", struct blkif_request, sector_number);
	O("BlkifReqSegments", struct blkif_request, seg);
	S("BlkifSegSize", struct blkif_request_segment);
	O("BlkifSegGref", struct blkif_request_segment, gref);
	O("BlkifSegFirst", struct blkif_request_segment, first_sect);
	O("BlkifSegLast", struct blkif_request_segment, last_sect);
	S("BlkifRspSize", struct blkif_response);
	O("BlkifRspID", struct blkif_response, id);
	O("BlkifRspOperation", struct blkif_response, operation);
	O("BlkifRspStatus", struct blkif_response, status);
	C(BLKIF_OP_READ); C(BLKIF_OP_WRITE); C(BLKIF_OP_WRITE_BARRIER); C(BLKIF_OP_FLUSH_DISKCACHE);
	C(BLKIF_OP_DISCARD); C(BLKIF_OP_INDIRECT);
	C(BLKIF_RSP_OKAY); C(BLKIF_RSP_ERROR); C(BLKIF_RSP_EOPNOTSUPP);
	C(VDISK_CDROM); C(VDISK_REMOVABLE); C(VDISK_READONLY);

	O("TPMIFLength", struct tpmif_shared_page, length);
	O("TPMIFState", struct tpmif_shared_page, state);
	O("TPMIFLocality", struct tpmif_shared_page, locality);
	O("TPMIFPad", struct tpmif_shared_page, pad);
	O("TPMIFNrExtraPages", struct tpmif_shared_page, nr_extra_pages);
	O("TPMIFData", struct tpmif_shared_page, extra_pages);
	N("VTPM_STATE_IDLE", TPMIF_STATE_IDLE);
	N("VTPM_STATE_SUBMIT", TPMIF_STATE_SUBMIT);
	N("VTPM_STATE_FINISH", TPMIF_STATE_FINISH);
	N("VTPM_STATE_CANCEL", TPMIF_STATE_CANCEL);

	C(XenbusStateUnknown); C(XenbusStateInitialising); C(XenbusStateInitWait);
	C(XenbusStateInitialised); C(XenbusStateConnected); C(XenbusStateClosing);
	C(XenbusStateClosed); C(XenbusStateReconfiguring); C(XenbusStateReconfigured);

	C(XEN_HVM_START_MAGIC_VALUE);
	O("StartInfoMagic", struct hvm_start_info, magic);
	O("StartInfoVersion", struct hvm_start_info, version);
	O("StartInfoFlags", struct hvm_start_info, flags);
	O("StartInfoNrModules", struct hvm_start_info, nr_modules);
	O("StartInfoModlist", struct hvm_start_info, modlist_paddr);
	O("StartInfoCmdline", struct hvm_start_info, cmdline_paddr);
	O("StartInfoRSDP", struct hvm_start_info, rsdp_paddr);
	O("StartInfoMemmap", struct hvm_start_info, memmap_paddr);
	O("StartInfoMemmapEntries", struct hvm_start_info, memmap_entries);
	S("StartInfoSizeV1", struct hvm_start_info);
	O("StartInfoSizeV0", struct hvm_start_info, memmap_paddr);
	C(SIF_PRIVILEGED); C(SIF_INITDOMAIN);
	S("ModlistEntrySize", struct hvm_modlist_entry);
	O("ModlistPaddr", struct hvm_modlist_entry, paddr);
	O("ModlistSize", struct hvm_modlist_entry, size);
	O("ModlistCmdline", struct hvm_modlist_entry, cmdline_paddr);
	S("MemmapEntrySize", struct hvm_memmap_table_entry);
	O("MemmapAddr", struct hvm_memmap_table_entry, addr);
	O("MemmapSize", struct hvm_memmap_table_entry, size);
	O("MemmapType", struct hvm_memmap_table_entry, type);
	C(XEN_HVM_MEMMAP_TYPE_RAM); C(XEN_HVM_MEMMAP_TYPE_RESERVED); C(XEN_HVM_MEMMAP_TYPE_ACPI);
	C(XEN_HVM_MEMMAP_TYPE_NVS); C(XEN_HVM_MEMMAP_TYPE_UNUSABLE); C(XEN_HVM_MEMMAP_TYPE_DISABLED);
	C(XEN_HVM_MEMMAP_TYPE_PMEM);
	C(XEN_ELFNOTE_PHYS32_ENTRY);
	return 0;
}
