/* SPDX-License-Identifier: Apache-2.0
 * Sorted symbols and their lookup by address: from ELF symbol tables, kallsyms and perf maps.
 * Whatever stands in those is untrusted: every size and offset is checked, nothing is searched
 * without bound. The interface is in kperf_core.h. */
#ifndef KPERF_SYMINDEX_H
#define KPERF_SYMINDEX_H

#include "kperf_core.h"

#endif
