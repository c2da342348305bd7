module safestart

go 1.24
