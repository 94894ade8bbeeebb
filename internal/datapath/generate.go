package datapath

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -type ip -type iface -type policy -type vector -type addr_key -type prefix_key -type service_key -type member_key -type group_key -type flow_key -type flow -type counter -type hit_key -type hit -type drop -type name_key -type name -type swept kernel datapath.c -- -O2 -g -Wall -Werror -mcpu=v3 -I/usr/include/x86_64-linux-gnu
