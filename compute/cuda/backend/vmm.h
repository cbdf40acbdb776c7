/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_CUDA_VMM_H
#define VIADUCT_CUDA_VMM_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What is reserved and mapped where: libcuda keeps account of it for its program, and a host for
 * its client, which may lie. The rules of cuMemAddressReserve, cuMemMap and cuMemSetAccess are
 * here; what a backend then does needs no checks. Functions return 0 or a CUresult. The caller
 * locks.
 */

#define VMM_GRANULARITY ((uint64_t)2 << 20) /* bytes, as the devices of NVIDIA have it */

enum vmm_access { VMM_NONE, VMM_READ, VMM_WRITE };

struct vmm_stretch {
    uint64_t address, size;
    uint64_t offset;        /* of a mapping: into `of` */
    void *of;               /* of a mapping: the owner's; of a reservation NULL */
    enum vmm_access access; /* of a mapping */
};

struct vmm_list {
    struct vmm_stretch *stretches; /* by address */
    uint32_t count, room;
};

/* All zero: empty. */
struct vmm {
    struct vmm_list reservations, mappings;
};

void vmm_finish(struct vmm *v);
/* Notes a reservation that a backend has made. CUDA_ERROR_OUT_OF_MEMORY. */
int vmm_reserve(struct vmm *v, uint64_t address, uint64_t size);
/* That one, with nothing mapped in it: may be given back. CUDA_ERROR_INVALID_VALUE. */
int vmm_release(struct vmm *v, uint64_t address, uint64_t size);
/* Whether it may be mapped: multiples of the granularity, within a reservation, free. There is room
 * for vmm_map afterwards. */
int vmm_can_map(struct vmm *v, uint64_t address, uint64_t size);
void vmm_map(struct vmm *v, uint64_t address, uint64_t size, void *of, uint64_t offset);
/* Whether it is whole mappings, without gaps. */
bool vmm_is_whole(const struct vmm *v, uint64_t address, uint64_t size);
/* Of such a stretch. `dropped` gets what each mapping was of. */
void vmm_unmap(struct vmm *v, uint64_t address, uint64_t size,
               void (*dropped)(void *arg, const struct vmm_stretch *mapping), void *arg);
void vmm_allow(struct vmm *v, uint64_t address, uint64_t size, enum vmm_access access);
/* Whether all of it may be accessed. */
bool vmm_has(const struct vmm *v, uint64_t address, uint64_t size, enum vmm_access access);
/* The mapping, the reservation that an address is in, or NULL. */
const struct vmm_stretch *vmm_mapping(const struct vmm *v, uint64_t address);
const struct vmm_stretch *vmm_reservation(const struct vmm *v, uint64_t address);

#endif
