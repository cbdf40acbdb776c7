/* SPDX-License-Identifier: MIT */
#ifndef VIADUCT_LIMITS_H
#define VIADUCT_LIMITS_H

/*
 * Every quantity that a peer controls has its limit here, with a name.
 * Hard limits are part of the protocol (both ends refuse more); the host's configurable limits
 * (clients, contexts, surfaces, bytes) start from the defaults at the end and can only be lower.
 */

#define VD_MAX_MESSAGE        (1u << 20)   /* bytes of one message, header included */
#define VD_MAX_ARENA          (1ull << 40) /* bytes of an arena */
#define VD_MAX_WORDS          (1u << 16)   /* words of bytes that travel in one message: 512 KiB */
#define VD_MAX_MESSAGE_FDS    4            /* descriptors that travel with one message */
#define VD_MAX_CONTEXTS       64           /* contexts of one client */
#define VD_MAX_SURFACES       4096         /* surfaces of one client */
#define VD_MAX_BACKINGS       8192         /* pieces of frame memory of one client */
#define VD_MAX_CREATE         1024         /* surfaces created or destroyed by one message */
#define VD_MAX_BUFFERS        40000 /* VA buffers of one picture (8k slices make 16k buffers) */
#define VD_MAX_SLICES         16384 /* slice parameter elements of one picture */
#define VD_MAX_PICTURE_BYTES  (64u << 20)  /* slice data of one picture */
#define VD_MAX_IN_FLIGHT      64           /* pictures of one context submitted and not complete */
#define VD_MAX_PLANES         4            /* of a surface */
#define VD_MAX_IMPORT_BYTES   (1ull << 30) /* of one imported memory */
#define VD_MAX_CAPS           128          /* profile and entry point pairs in HELLO */
#define VD_MAX_CAP_FORMATS    24           /* surface formats of one profile and entry point */
#define VD_MAX_CAP_ATTRIBUTES 32           /* attributes of one profile and entry point */
#define VD_MAX_CODED_BYTES    (64u << 20)  /* of one coded buffer */
#define VD_MAX_HEADERS        64           /* packed headers of one picture */
#define VD_MAX_HEADER_BYTES   (64u << 10)  /* of all packed headers of one picture */
#define VD_MAX_MISC           32           /* VAEncMiscParameterBuffers of one picture */
#define VD_MAX_ROI            32           /* regions of interest of one picture */
#define VD_MAX_PIPELINES      64           /* inputs that one processed picture is made of */
#define VD_MAX_PROC_FILTERS   16           /* filter elements of one pipeline */
#define VD_MAX_PROC_REFS      8            /* forward, and backward, references of one pipeline */
#define VD_MAX_WIDTH          16384        /* of a decoded picture */
#define VD_MAX_HEIGHT         16384
#define VD_MAX_H264_SIZE      8192  /* the same for H.264 */
#define VD_MAX_VC1_SIZE       8192  /* for VC-1: 12 bits, in units of two pixels */
#define VD_MAX_SURFACE_SIZE   16384 /* width or height of a surface */
#define VD_MAX_STATS_CLIENTS  1024  /* rows of one STATS reply */
#define VD_MAX_DOORS          128   /* handshakes of TLS that are not over, of all clients */
#define VD_MAX_DOORS_ADDRESS  32    /* the same of one address; of IPv6 one network of 64 bits */
#define VD_MAX_PROOF_NAMES    16    /* names in a client's certificate */
#define VD_PROOF_NAME_BYTES   128   /* one of these, or of a secret; NUL-terminated */
#define VD_MAX_SECRETS        256   /* lines of a file of secrets */
#define VD_NAME_BYTES         32    /* back end and client names, NUL-terminated */
#define VD_ENGINE_BYTES       64    /* name of an engine, NUL-terminated */
#define VD_PROC_COLOR_FIELDS  5     /* of VAProcColorProperties */
#define VD_HDR_FIELDS         12    /* of VAHdrMetaDataHDR10 */

#define VD_MAX_NPU_DEVICES     32           /* rows of one NPU_DEVICES reply */
#define VD_MAX_NPU_MODEL_BYTES (2ull << 30) /* of one model for inference */
#define VD_MAX_NPU_VALUES      512          /* inputs and outputs of one run */
#define VD_MAX_NPU_RANK        8            /* dimensions of a tensor */
#define VD_MAX_NPU_JOBS        64    /* loads, runs, fetches of one model that are not done */
#define VD_MAX_NPU_KEPT        16    /* runs of one model whose outputs wait for a fetch */
#define VD_MAX_NPU_PICTURES    4     /* inputs of one run that are pictures */
#define VD_MAX_NPU_ROIS        256   /* parts of a picture in one input */
#define VD_MAX_NPU_POSTS       16    /* outputs of one run that something is made of */
#define VD_MAX_NPU_ROWS        65536 /* of what is made of an output */
#define VD_NPU_HASH_WORDS      8     /* of a SHA-256 */
#define VD_NPU_TEXT_BYTES      480   /* sentence of a result, NUL-terminated */

/* CUDA. */
#define VD_MAX_CUDA_DEVICES    16
#define VD_MAX_CUDA_CONTEXTS   64           /* of one client */
#define VD_MAX_CUDA_QUEUES     8192         /* of one client: its streams */
#define VD_MAX_CUDA_STAMPS     65536        /* times of events that are kept at the host */
#define VD_MAX_CUDA_MODULES    4096         /* of one client */
#define VD_MAX_CUDA_RANGES     (1u << 20)   /* allocations of one client */
#define VD_MAX_CUDA_PHYSICAL   65536        /* pieces of memory without an address, of one client */
#define VD_MAX_CUDA_RESERVED   (4ull << 40) /* bytes of addresses that one client reserves */
#define VD_MAX_CUDA_RESERVES   4096         /* in so many pieces */
#define VD_CUDA_GRANULARITY    (2ull << 20) /* of such memory and addresses, bytes */
#define VD_MAX_CUDA_QUEUED     65536        /* commands of one queue that are not done */
#define VD_MAX_CUDA_IMAGE      (64ull << 20)  /* bytes of one module's text */
#define VD_MAX_CUDA_INFO       (256ull << 20) /* bytes of one module's description */
#define VD_MAX_CUDA_PARAMETERS 4096           /* words of a launch: 32 KiB */
#define VD_MAX_CUDA_TEXT       8192           /* words of one cuda_print: 64 KiB */
#define VD_MAX_CUDA_FAULT      32             /* words of one cuda_fault */
#define VD_CUDA_NAME_BYTES     64             /* name of a device, NUL-terminated */
#define VD_CUDA_LOG_BYTES      16384          /* of a compiler's log */
#define VD_CUDA_RING_BYTES     (1u << 20)     /* of the ring; a power of two */

#define VD_UPLOAD_BYTES (512ull << 20) /* arena zone the guest puts buffers into (sparse) */

/* Defaults of the host's configurable limits. */
#define VD_DEFAULT_CLIENTS      64
#define VD_DEFAULT_CONTEXTS     32
#define VD_DEFAULT_SURFACES     1024
#define VD_DEFAULT_BYTES        (4ull << 30) /* frame memory of one client */
#define VD_DEFAULT_CUDA_BYTES   (4ull << 30) /* device memory of one client */
#define VD_DEFAULT_RUN_SECONDS  600          /* of one run of a model */
#define VD_DEFAULT_CUDA_SECONDS 600          /* of one launch */

#endif
