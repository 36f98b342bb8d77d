"""Names of addresses: symbols of ELF files, of the kernel, of the vdso and of JIT compilers."""
