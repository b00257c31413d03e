module polyvox/benchmarks/load

go 1.21
