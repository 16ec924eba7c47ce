// Package nftables speaks to the kernel's nf_tables: transactions, questions, and the
// attributes that both are made of. It knows nothing of what vrrpd puts there (packages
// lease and accept), and runs no nft.
package nftables
