from screenwise.train.sparse_kernels import LINE, aligned


def test_memory_begins_on_a_cache_line():
    for shape in ((1, 1), (3, 5), (1000, 2, 400)):
        block = aligned(shape)
        assert block.shape == shape
        assert block.ctypes.data % (4 * LINE) == 0
