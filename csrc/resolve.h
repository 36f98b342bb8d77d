/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KPERF_RESOLVE_H
#define KPERF_RESOLVE_H

#include "kperf_core.h"
#include "space.h"
#include "store.h"

/* Turns a store and the address spaces of its time into an immutable result. Takes the store over.
 */
int kp_resolve(struct kp_store *store, struct kp_spaces *spaces, struct kp_samples **out);

#endif
