"""What each call of torch becomes: the pairs of docs/from-pytorch.md, with places for arguments.

On the left a call as torch has it, `*shape` standing for loose numbers or one tuple; on the right
what takes its place. An argument that is not given takes its keyword with it on the right, or is
replaced by its default. `x.f(...)` on the left holds for `torch.f(x, ...)` and `x.f_(...)` as well.
"""

RULES = """
x.view(*shape)                       | x.reshape(*shape)
x.reshape(*shape)                    | x.reshape(*shape)
x.view_as(other)                     | x.reshape(other.shape)
x.reshape_as(other)                  | x.reshape(other.shape)
x.size()                             | x.shape
x.size(dim)                          | x.shape[dim]
x.dim()                              | x.ndim
x.ndimension()                       | x.ndim
x.numel()                            | x.size
x.nelement()                         | x.size
x.is_floating_point()                | jnp.issubdtype(x.dtype, jnp.floating)
x.permute(*dims)                     | x.transpose(*dims)
x.transpose(dim0, dim1)              | x.swapaxes(dim0, dim1)
x.transpose(*dims)                   | x.swapaxes(*dims)
x.swapaxes(axis0, axis1)             | x.swapaxes(axis0, axis1)
x.swapdims(dim0, dim1)               | x.swapaxes(dim0, dim1)
x.movedim(source, destination)       | jnp.moveaxis(x, source, destination)
x.t()                                | x.T
x.contiguous(memory_format=None)     | x
x.clone(memory_format=None)          | x
x.cpu()                              | x
x.cuda()                             | x
x.requires_grad_(mode=True)          | x
x.data()                             | x
x.detach()                           | jax.lax.stop_gradient(x)
x.unsqueeze(dim)                     | jnp.expand_dims(x, dim)
x.squeeze()                          | x.squeeze()
x.expand_as(other)                   | jnp.broadcast_to(x, other.shape)
x.broadcast_to(*shape)               | jnp.broadcast_to(x, shape)
x.repeat(*sizes)                     | jnp.tile(x, sizes)
x.tile(*sizes)                       | jnp.tile(x, sizes)
x.repeat_interleave(repeats, dim=None, output_size=None) | jnp.repeat(x, repeats, axis=dim, total_repeat_length=output_size)
x.unbind(dim=0)                      | jnp.unstack(x, axis=dim)
x.flip(*dims)                        | jnp.flip(x, dims)
x.roll(shifts, dims=None)            | jnp.roll(x, shifts, axis=dims)
x.narrow(dim, start, length)         | jax.lax.slice_in_dim(x, start, start + length, axis=dim)
x.select(dim, index)                 | jax.lax.index_in_dim(x, index, dim, keepdims=False)
x.index_select(dim, index)           | jnp.take(x, index, axis=dim)
x.gather(dim, index)                 | jnp.take_along_axis(x, index, axis=dim)
x.take(index)                        | jnp.take(x, index)
x.masked_select(mask)                | x[mask]
x.masked_fill(mask, value)           | jnp.where(mask, value, x)
x.where(condition, other)            | jnp.where(condition, x, other)
x.diagonal(offset=0, dim1=0, dim2=1) | jnp.diagonal(x, offset=offset, axis1=dim1, axis2=dim2)
x.diag(diagonal=0)                   | jnp.diag(x, k=diagonal)
x.tril(diagonal=0)                   | jnp.tril(x, k=diagonal)
x.triu(diagonal=0)                   | jnp.triu(x, k=diagonal)
x.sum(dim=None, keepdim=False, dtype=None)  | x.sum(axis=dim, keepdims=keepdim, dtype=dtype)
x.mean(dim=None, keepdim=False, dtype=None) | x.mean(axis=dim, keepdims=keepdim, dtype=dtype)
x.prod(dim=None, keepdim=False, dtype=None) | x.prod(axis=dim, keepdims=keepdim, dtype=dtype)
x.amax(dim=None, keepdim=False)      | x.max(axis=dim, keepdims=keepdim)
x.amin(dim=None, keepdim=False)      | x.min(axis=dim, keepdims=keepdim)
x.any(dim=None, keepdim=False)       | x.any(axis=dim, keepdims=keepdim)
x.all(dim=None, keepdim=False)       | x.all(axis=dim, keepdims=keepdim)
x.argmax(dim=None, keepdim=False)    | x.argmax(axis=dim, keepdims=keepdim)
x.argmin(dim=None, keepdim=False)    | x.argmin(axis=dim, keepdims=keepdim)
x.argsort(dim=-1, descending=False, stable=False) | jnp.argsort(x, axis=dim, descending=descending)
x.logsumexp(dim, keepdim=False)      | jax.nn.logsumexp(x, axis=dim, keepdims=keepdim)
x.cumsum(dim, dtype=None)            | jnp.cumsum(x, axis=dim, dtype=dtype)
x.cumprod(dim, dtype=None)           | jnp.cumprod(x, axis=dim, dtype=dtype)
x.bincount(weights=None, minlength=None) | jnp.bincount(x, weights=weights, length=minlength)
x.fill_diagonal(value)               | jnp.fill_diagonal(x, value, inplace=False)
x.diff(n=1, dim=-1, prepend=None, append=None) | jnp.diff(x, n=n, axis=dim, prepend=prepend, append=append)
x.softmax(dim, dtype=None)           | F.softmax(x, dim, dtype=dtype)
x.log_softmax(dim, dtype=None)       | F.log_softmax(x, dim, dtype=dtype)
x.norm(p=None, dim=None, keepdim=False) | jnp.linalg.vector_norm(x, ord=p, axis=dim, keepdims=keepdim)
x.item()                             | x.item()
x.tolist()                           | x.tolist()
x.pow(exponent)                      | x**exponent
x.rsqrt()                            | jax.lax.rsqrt(x)
x.erf()                              | jax.lax.erf(x)
x.reciprocal()                       | 1 / x
x.neg()                              | -x
x.sigmoid()                          | jax.nn.sigmoid(x)
x.relu()                             | F.relu(x)
x.clamp(min=None, max=None)          | jnp.clip(x, min=min, max=max)
x.clip(min=None, max=None)           | jnp.clip(x, min=min, max=max)
x.clamp_min(min)                     | jnp.clip(x, min=min)
x.clamp_max(max)                     | jnp.clip(x, max=max)
x.add(other)                         | x + other
x.sub(other)                         | x - other
x.mul(other)                         | x * other
x.multiply(other)                    | x * other
x.div(other)                         | x / other
x.true_divide(other)                 | x / other
x.add(other, alpha)                  | x + alpha * other
x.sub(other, alpha)                  | x - alpha * other
x.addcmul(tensor1, tensor2, value=1) | x + value * tensor1 * tensor2
x.lerp(end, weight)                  | x + weight * (end - x)
x.eq(other)                          | x == other
x.ne(other)                          | x != other
x.gt(other)                          | x > other
x.ge(other)                          | x >= other
x.lt(other)                          | x < other
x.le(other)                          | x <= other
x.logical_not()                      | jnp.logical_not(x)
x.logical_and(other)                 | jnp.logical_and(x, other)
x.logical_or(other)                  | jnp.logical_or(x, other)
x.matmul(other)                      | x @ other
x.mm(other)                          | x @ other
x.bmm(other)                         | x @ other
x.dot(other)                         | x @ other
x.outer(other)                       | jnp.outer(x, other)
x.ger(other)                         | jnp.outer(x, other)
x.mv(other)                          | x @ other
x.inner(other)                       | jnp.inner(x, other)
x.floor_divide(other)                | x // other
x.subtract(other)                    | x - other
x.negative()                         | -x
x.frac()                             | jnp.fmod(x, 1)
x.not_equal(other)                   | x != other
x.greater(other)                     | x > other
x.greater_equal(other)               | x >= other
x.less(other)                        | x < other
x.less_equal(other)                  | x <= other
x.bitwise_and(other)                 | x & other
x.bitwise_or(other)                  | x | other
x.bitwise_not()                      | ~x
x.isclose(other, rtol=1e-05, atol=1e-08) | jnp.isclose(x, other, rtol=rtol, atol=atol)
x.isin(other)                        | jnp.isin(x, other)
x.addcdiv(tensor1, tensor2, value=1) | x + value * tensor1 / tensor2
x.ravel()                            | x.reshape(-1)
x.round(decimals)                    | jnp.round(x, decimals)
x.rsub(other)                        | other - x
x.rsub(other, alpha)                 | other - alpha * x
x.ldexp(other)                       | x * 2.0**other
x.sgn()                              | jnp.sign(x)
x.dist(other, p=2)                   | jnp.linalg.vector_norm(x - other, ord=p)
x.msort()                            | jnp.sort(x, axis=0)
x.diagflat(offset=0)                 | jnp.diagflat(x, k=offset)
x.corrcoef()                         | jnp.corrcoef(x)
x.cov(correction=1, fweights=None, aweights=None) | jnp.cov(x, ddof=correction, fweights=fweights, aweights=aweights)
x.aminmax()                          | (x.min(), x.max())
x.aminmax(dim, keepdim=False)        | (x.min(axis=dim, keepdims=keepdim), x.max(axis=dim, keepdims=keepdim))
x.nanmedian()                        | jnp.nanquantile(x, 0.5, method='lower')
x.conj_physical()                    | jnp.conj(x)
x.resolve_conj()                     | x
x.resolve_neg()                      | x
x.histc(bins=100)                    | jnp.histogram(x, bins)[0].astype(x.dtype)
x.histc(bins, max)                   | jnp.histogram(x, bins, (0, max))[0].astype(x.dtype)
x.histc(bins, min, max)              | jnp.histogram(x, bins, (min, max))[0].astype(x.dtype)
x.tensor_split(sections, dim=0)      | jnp.array_split(x, sections, axis=dim)
x.tensor_split(indices, dim=0)       | jnp.array_split(x, indices, axis=dim)
x.tensor_split(indices_or_sections, dim=0) | jnp.array_split(x, indices_or_sections, axis=dim)
x.hsplit(sections)                   | jnp.hsplit(x, sections)
x.vsplit(sections)                   | jnp.vsplit(x, sections)
x.dsplit(sections)                   | jnp.dsplit(x, sections)
x.masked_scatter(mask, source)       | jnp.where(mask, jnp.take(source, jnp.cumsum(jnp.broadcast_to(mask, x.shape)).reshape(x.shape) - 1, mode='clip'), x)
x.unravel_index(shape)               | jnp.unravel_index(x, shape)
torch.trapezoid(y, x=None, dim=-1)   | jnp.trapezoid(y, x, axis=dim)
torch.trapezoid(y, dx, dim=-1)       | jnp.trapezoid(y, dx=dx, axis=dim)
torch.trapz(y, x=None, dim=-1)       | jnp.trapezoid(y, x, axis=dim)
torch.trapz(y, dx, dim=-1)           | jnp.trapezoid(y, dx=dx, axis=dim)
torch.nonzero_static(x, size, fill_value=-1) | jnp.argwhere(x, size=size, fill_value=fill_value)
torch.constant_pad_nd(x, pad, value=0) | F.pad(x, pad, value=value)
torch.logspace(start, end, steps, base=10.0, dtype=None) | jnp.logspace(start, end, steps, base=base, dtype=dtype)
torch.cartesian_prod(x, y)           | jnp.stack(jnp.meshgrid(x, y, indexing='ij'), axis=-1).reshape(-1, 2)
torch.cartesian_prod(x, y, z)        | jnp.stack(jnp.meshgrid(x, y, z, indexing='ij'), axis=-1).reshape(-1, 3)
x.fliplr()                           | jnp.fliplr(x)
x.flipud()                           | jnp.flipud(x)
x.rot90(k=1, dims=(0, 1))            | jnp.rot90(x, k, dims)
x.moveaxis(source, destination)      | jnp.moveaxis(x, source, destination)
x.take_along_dim(indices, dim)       | jnp.take_along_axis(x, indices, axis=dim)
x.take_along_dim(indices)            | jnp.take(x, indices.reshape(-1))
x.diag_embed()                       | jnp.vectorize(jnp.diag, signature='(n)->(n,n)')(x)
x.diag_embed(offset)                 | jnp.vectorize(lambda row: jnp.diag(row, offset), signature='(n)->(m,m)')(x)
x.nansum(dim=None, keepdim=False)    | jnp.nansum(x, axis=dim, keepdims=keepdim)
x.nanmean(dim=None, keepdim=False)   | jnp.nanmean(x, axis=dim, keepdims=keepdim)
x.count_nonzero(dim=None)            | jnp.count_nonzero(x, axis=dim)
x.quantile(q, dim=None, keepdim=False, interpolation=None) | jnp.quantile(x, q, axis=dim, keepdims=keepdim, method=interpolation)
x.nanquantile(q, dim=None, keepdim=False, interpolation=None) | jnp.nanquantile(x, q, axis=dim, keepdims=keepdim, method=interpolation)
x.erfc()                             | jax.lax.erfc(x)
x.erfinv()                           | jax.lax.erf_inv(x)
x.lgamma()                           | jax.lax.lgamma(x)
x.digamma()                          | jax.lax.digamma(x)
x.expit()                            | jax.nn.sigmoid(x)
x.xlogy(other)                       | jax.scipy.special.xlogy(x, other)
x.xlog1py(other)                     | jax.scipy.special.xlog1py(x, other)
x.entr()                             | jax.scipy.special.entr(x)
x.ndtr()                             | jax.scipy.special.ndtr(x)
x.ndtri()                            | jax.scipy.special.ndtri(x)
x.log_ndtr()                         | jax.scipy.special.log_ndtr(x)
x.i0()                               | jax.scipy.special.i0(x)
x.i0e()                              | jax.scipy.special.i0e(x)
x.i1()                               | jax.scipy.special.i1(x)
x.i1e()                              | jax.scipy.special.i1e(x)
x.zeta(other)                        | jax.scipy.special.zeta(x, other)
x.igamma(other)                      | jax.scipy.special.gammainc(x, other)
x.igammac(other)                     | jax.scipy.special.gammaincc(x, other)
x.gammainc(other)                    | jax.scipy.special.gammainc(x, other)
x.gammaincc(other)                   | jax.scipy.special.gammaincc(x, other)
x.gammaln()                          | jax.lax.lgamma(x)
x.psi()                              | jax.lax.digamma(x)
x.mvlgamma(p)                        | jax.scipy.special.multigammaln(x, p)
x.multigammaln(p)                    | jax.scipy.special.multigammaln(x, p)
torch.polygamma(n, x)                | jax.scipy.special.polygamma(n, x)
x.matrix_exp()                       | jax.scipy.linalg.expm(x)
x.matrix_power(n)                    | jnp.linalg.matrix_power(x, n)
x.pinverse()                         | jnp.linalg.pinv(x)
x.is_contiguous()                    | True
x.is_complex()                       | jnp.iscomplexobj(x)
x.byte()                             | x.astype(jnp.uint8)
x.char()                             | x.astype(jnp.int8)
x.short()                            | x.astype(jnp.int16)
x.float()                            | x.astype(jnp.float32)
x.double()                           | x.astype(jnp.float64)
x.half()                             | x.astype(jnp.float16)
x.bfloat16()                         | x.astype(jnp.bfloat16)
x.long()                             | x.astype(jnp.int32)
x.int()                              | x.astype(jnp.int32)
x.bool()                             | x.astype(bool)
x.type_as(other)                     | x.astype(other.dtype)
x.numpy()                            | x
x.new_zeros(*size)                   | jnp.zeros(size, x.dtype)
x.new_zeros(*size, dtype)            | jnp.zeros(size, dtype)
x.new_empty(*size)                   | jnp.zeros(size, x.dtype)
x.new_ones(*size)                    | jnp.ones(size, x.dtype)
x.new_ones(*size, dtype)             | jnp.ones(size, dtype)
x.new_full(size, value)              | jnp.full(size, value, x.dtype)
x.new_full(size, value, dtype)       | jnp.full(size, value, dtype)
x.new_tensor(data)                   | jnp.array(data, x.dtype)
x.fill(value)                        | jnp.full_like(x, value)
x.zero()                             | jnp.zeros_like(x)
x.copy(src)                          | jnp.broadcast_to(src, x.shape)
torch.cat(tensors, dim=0)            | jnp.concatenate(tensors, axis=dim)
torch.concat(tensors, dim=0)         | jnp.concatenate(tensors, axis=dim)
torch.concatenate(tensors, dim=0)    | jnp.concatenate(tensors, axis=dim)
torch.stack(tensors, dim=0)          | jnp.stack(tensors, axis=dim)
torch.where(condition, x, y)         | jnp.where(condition, x, y)
torch.where(condition)               | jnp.where(condition)
torch._higher_order_ops.associative_scan.associative_scan(combine_fn, xs, dim, reverse=False, combine_mode=None) | jax.lax.associative_scan(combine_fn, xs, reverse=reverse, axis=dim)
F._single(x)                         | (tuple(x) if isinstance(x, tuple | list) else (x,))
F._pair(x)                           | (tuple(x) if isinstance(x, tuple | list) else (x,) * 2)
F._triple(x)                         | (tuple(x) if isinstance(x, tuple | list) else (x,) * 3)
torch.einsum(equation, *operands)    | jnp.einsum(equation, *operands)
torch.broadcast_shapes(*shapes)      | jnp.broadcast_shapes(*shapes)
torch._softmax_backward_data(grad_output, output, dim, input_dtype) | output * (grad_output - (grad_output * output).sum(axis=dim, keepdims=True))
torch.zeros(*size, dtype=None)       | jnp.zeros(size, dtype=dtype)
torch.ones(*size, dtype=None)        | jnp.ones(size, dtype=dtype)
torch.empty(*size, dtype=None)       | jnp.zeros(size, dtype=dtype)
torch.full(size, value, dtype=None)  | jnp.full(size, value, dtype=dtype)
torch.zeros_like(x, dtype=None)      | jnp.zeros_like(x, dtype=dtype)
torch.ones_like(x, dtype=None)       | jnp.ones_like(x, dtype=dtype)
torch.empty_like(x, dtype=None)      | jnp.zeros_like(x, dtype=dtype)
torch.full_like(x, value, dtype=None) | jnp.full_like(x, value, dtype=dtype)
torch.arange(start, end, step, dtype=None) | jnp.arange(start, end, step, dtype=dtype)
torch.arange(start, end, dtype=None) | jnp.arange(start, end, dtype=dtype)
torch.arange(end, dtype=None)        | jnp.arange(end, dtype=dtype)
torch.linspace(start, end, steps, dtype=None) | jnp.linspace(start, end, steps, dtype=dtype)
torch.hann_window(n)                 | jnp.hanning(n + 1)[:-1]
torch.hamming_window(n)              | jnp.hamming(n + 1)[:-1]
torch.blackman_window(n)             | jnp.blackman(n + 1)[:-1]
torch.bartlett_window(n)             | jnp.bartlett(n + 1)[:-1]
torch.kaiser_window(n, beta=12.0)    | jnp.kaiser(n + 1, beta)[:-1]
torch.eye(n, m=None, dtype=None)     | jnp.eye(n, m, dtype=dtype)
torch.tensor(data, dtype=None)       | jnp.array(data, dtype=dtype)
torch.scalar_tensor(data, dtype=None) | jnp.array(data, dtype=dtype)
torch.as_tensor(data, dtype=None)    | jnp.asarray(data, dtype=dtype)
torch.from_numpy(data)               | jnp.asarray(data)
torch.broadcast_tensors(*tensors)    | jnp.broadcast_arrays(*tensors)
torch.maximum(x, y)                  | jnp.maximum(x, y)
torch.minimum(x, y)                  | jnp.minimum(x, y)
torch.complex(x, y)                  | jax.lax.complex(x, y)
torch.triu_indices(row, col, offset=0) | jnp.stack(jnp.triu_indices(row, offset, col))
torch.tril_indices(row, col, offset=0) | jnp.stack(jnp.tril_indices(row, offset, col))
torch.polar(abs, angle)              | abs * jnp.exp(1j * angle)
torch.hstack(tensors)                | jnp.hstack(tensors)
torch.vstack(tensors)                | jnp.vstack(tensors)
torch.cdist(x, y, p=2.0, compute_mode=None)           | F.pairwise_distance(x[..., :, None, :], y[..., None, :, :], p=p, eps=0.0)
torch.tensordot(x, y, dims)          | jnp.tensordot(x, y, axes=dims)
torch.trace(x)                       | jnp.trace(x)
torch.block_diag(*tensors)           | jax.scipy.linalg.block_diag(*tensors)
torch.column_stack(tensors)          | jnp.column_stack(tensors)
torch.dstack(tensors)                | jnp.dstack(tensors)
torch.selu(x)                        | F.selu(x)
torch.celu(x, alpha=1.0)             | F.celu(x, alpha)
torch.cross(x, y, dim)               | jnp.cross(x, y, axis=dim)
torch.linalg.cross(x, y, dim=-1)     | jnp.cross(x, y, axis=dim)
torch.linalg.eigh(x)                 | jnp.linalg.eigh(x)
torch.linalg.eigh(x, UPLO)           | jnp.linalg.eigh(x, UPLO=UPLO, symmetrize_input=False)
torch.linalg.eigvalsh(x)             | jnp.linalg.eigvalsh(x)
torch.linalg.eigvalsh(x, UPLO)       | jnp.linalg.eigvalsh(x, UPLO=UPLO, symmetrize_input=False)
torch.linalg.svd(x, full_matrices=True) | jnp.linalg.svd(x, full_matrices=full_matrices)
torch.linalg.svdvals(x)              | jnp.linalg.svd(x, compute_uv=False)
torch.linalg.matrix_power(x, n)      | jnp.linalg.matrix_power(x, n)
torch.fft.hfft(x, n=None, dim=-1, norm=None) | jnp.fft.hfft(x, n=n, axis=dim, norm=norm)
torch.fft.ihfft(x, n=None, dim=-1, norm=None) | jnp.fft.ihfft(x, n=n, axis=dim, norm=norm)
torch.linalg.multi_dot(tensors)      | jnp.linalg.multi_dot(tensors)
torch.fft.ifft(x, n=None, dim=-1, norm=None) | jnp.fft.ifft(x, n=n, axis=dim, norm=norm)
torch.fft.rfft(x, n=None, dim=-1, norm=None) | jnp.fft.rfft(x, n=n, axis=dim, norm=norm)
torch.fft.irfft(x, n=None, dim=-1, norm=None) | jnp.fft.irfft(x, n=n, axis=dim, norm=norm)
torch.fft.ifft2(x, s=None, dim=None, norm=None) | jnp.fft.ifft2(x, s=s, axes=dim, norm=norm)
torch.fft.fftn(x, s=None, dim=None, norm=None) | jnp.fft.fftn(x, s=s, axes=dim, norm=norm)
torch.fft.ifftn(x, s=None, dim=None, norm=None) | jnp.fft.ifftn(x, s=s, axes=dim, norm=norm)
torch.fft.rfftn(x, s=None, dim=None, norm=None) | jnp.fft.rfftn(x, s=s, axes=dim, norm=norm)
torch.fft.irfftn(x, s=None, dim=None, norm=None) | jnp.fft.irfftn(x, s=s, axes=dim, norm=norm)
torch.fft.fftshift(x, dim=None)      | jnp.fft.fftshift(x, axes=dim)
torch.fft.ifftshift(x, dim=None)     | jnp.fft.ifftshift(x, axes=dim)
torch.fft.fftfreq(n, d=1.0)          | jnp.fft.fftfreq(n, d)
torch.fft.rfftfreq(n, d=1.0)         | jnp.fft.rfftfreq(n, d)
x.logit()                            | jax.scipy.special.logit(x)
x.logit(eps)                         | jax.scipy.special.logit(jnp.clip(x, eps, 1 - eps))
x.addmm(mat1, mat2)                  | x + mat1 @ mat2
x.addmm(mat1, mat2, beta=1, alpha=1) | beta * x + alpha * (mat1 @ mat2)
x.baddbmm(batch1, batch2)            | x + batch1 @ batch2
x.baddbmm(batch1, batch2, beta=1, alpha=1) | beta * x + alpha * (batch1 @ batch2)
x.addbmm(batch1, batch2)             | x + (batch1 @ batch2).sum(0)
x.addbmm(batch1, batch2, beta=1, alpha=1) | beta * x + alpha * (batch1 @ batch2).sum(0)
x.addmv(mat, vec)                    | x + mat @ vec
x.addmv(mat, vec, beta=1, alpha=1)   | beta * x + alpha * (mat @ vec)
x.addr(vec1, vec2)                   | x + jnp.outer(vec1, vec2)
x.addr(vec1, vec2, beta=1, alpha=1)  | beta * x + alpha * jnp.outer(vec1, vec2)
torch.numel(x)                       | x.size
torch.is_tensor(x)                   | isinstance(x, jax.Array)
torch.linalg.norm(x, ord=None, dim=None, keepdim=False) | jnp.linalg.norm(x, ord=ord, axis=dim, keepdims=keepdim)
torch.linalg.vector_norm(x, ord=None, dim=None, keepdim=False) | jnp.linalg.vector_norm(x, ord=ord, axis=dim, keepdims=keepdim)
torch.linalg.det(x)                  | jnp.linalg.det(x)
torch.linalg.inv(x)                  | jnp.linalg.inv(x)
torch.linalg.qr(x, mode="reduced")   | jnp.linalg.qr(x, mode=mode)
torch.linalg.slogdet(x)              | jnp.linalg.slogdet(x)
torch.linalg.cholesky(x, upper=False) | jnp.linalg.cholesky(x, upper=upper)
x.cholesky(upper=False)              | jnp.linalg.cholesky(x, upper=upper)
torch.linalg.solve(x, y)             | jnp.linalg.solve(x, y)
torch.linalg.pinv(x, rtol=None, hermitian=False) | jnp.linalg.pinv(x, rtol=rtol, hermitian=hermitian)
torch.linalg.vecdot(x, y, dim=-1)    | jnp.linalg.vecdot(x, y, axis=dim)
torch.linalg.matrix_rank(x)          | jnp.linalg.matrix_rank(x)
torch.linalg.vander(x, N=None)       | jnp.vander(x, N, increasing=True)
torch.linalg.diagonal(x, offset=0, dim1=-2, dim2=-1) | jnp.diagonal(x, offset=offset, axis1=dim1, axis2=dim2)
torch.linalg.matrix_norm(x, ord='fro') | jnp.linalg.matrix_norm(x, ord=ord)
torch.linalg.matrix_norm(x, ord='fro', keepdim=False) | jnp.linalg.matrix_norm(x, ord=ord, keepdims=keepdim)
torch.linalg.cond(x, p=None)         | jnp.linalg.cond(x, p=p)
torch.linalg.tensorinv(x, ind=2)     | jnp.linalg.tensorinv(x, ind=ind)
torch.linalg.tensorsolve(x, y, dims=None) | jnp.linalg.tensorsolve(x, y, axes=dims)
x.cholesky_inverse()                 | jnp.linalg.inv(x @ x.mT)
x.qr()                               | jnp.linalg.qr(x)
x.logdet()                           | (jnp.log(jnp.linalg.slogdet(x)[0]) + jnp.linalg.slogdet(x)[1])
x.det()                              | jnp.linalg.det(x)
x.inverse()                          | jnp.linalg.inv(x)
x.slogdet()                          | jnp.linalg.slogdet(x)
torch.fft.fft(x, n=None, dim=-1, norm=None) | jnp.fft.fft(x, n=n, axis=dim, norm=norm)
torch.fft.fft2(x, s=None, dim=None, norm=None) | jnp.fft.fft2(x, s=s, axes=dim, norm=norm)
torch.fft.rfft2(x, s=None, dim=None, norm=None) | jnp.fft.rfft2(x, s=s, axes=dim, norm=norm)
torch.fft.irfft2(x, s=None, dim=None, norm=None) | jnp.fft.irfft2(x, s=s, axes=dim, norm=norm)
torch.finfo(dtype)                   | jnp.finfo(dtype)
torch.get_default_dtype()            | jnp.float32
torch.Size(x)                        | tuple(x)
torch.device(x)                      | None
torch.jit.annotate(kind, value)      | value
torch.jit.isinstance(x, of)          | isinstance(x, of)
torch.jit.is_scripting()             | False
torch.jit.is_tracing()               | False
torch.onnx.is_in_onnx_export()       | False
torch.compiler.is_compiling()        | False
torch.cuda.is_available()            | False
torch.distributed.is_available()     | False
torch.distributed.distributed_c10d.is_initialized() | False
torch.xpu.is_available()             | False
torch.backends.mps.is_available()    | False
torch.compiler.is_dynamo_compiling() | False
torch.compiler.is_exporting()        | False
torch.is_grad_enabled()              | True
torch.utils.checkpoint.checkpoint(function, *args, use_reentrant=None) | function(*args)
torch.utils._pytree.tree_flatten(tree) | jax.tree.flatten(tree, is_leaf=lambda leaf: leaf is None)
torch.utils._pytree.tree_unflatten(leaves, form) | jax.tree.unflatten(form, leaves)
torch.utils._pytree.tree_map(function, tree) | jax.tree.map(function, tree, is_leaf=lambda leaf: leaf is None)
torch.randn_like(x)                  | jax.random.normal(KEY, x.shape, x.dtype)
torch.rand_like(x)                   | jax.random.uniform(KEY, x.shape, x.dtype)
torch.randn(*size, dtype=None)       | jax.random.normal(KEY, size, dtype=dtype)
torch.rand(*size, dtype=None)        | jax.random.uniform(KEY, size, dtype=dtype)
torch.randint(low, high, size, dtype=None) | jax.random.randint(KEY, size, low, high, dtype=dtype)
torch.randint(high, size, dtype=None) | jax.random.randint(KEY, size, 0, high, dtype=dtype)
torch.normal(mean, std, size)        | (mean + std * jax.random.normal(KEY, size))
torch.normal(mean, std)              | jax.lax.stop_gradient(mean + std * jax.random.normal(KEY, mean.shape))
x.exponential(lambd=1)               | (jax.random.exponential(KEY, x.shape, x.dtype) / lambd)
torch.randperm(n)                    | jax.random.permutation(KEY, n)
torch.bernoulli(x)                   | jax.random.bernoulli(KEY, x).astype(x.dtype)
x.bernoulli(p)                       | jax.random.bernoulli(KEY, p, x.shape).astype(x.dtype)
x.normal(mean=0, std=1)              | (mean + std * jax.random.normal(KEY, x.shape, x.dtype))
x.uniform(low=0, high=1)             | jax.random.uniform(KEY, x.shape, x.dtype, low, high)
"""  # noqa: E501
# What jax.numpy has under the same name, of one array or of two.
SAME = """
abs absolute acos angle arccos arcsin arctan arctan2 asin atan atan2 ceil conj cos cosh exp exp2
expm1 floor fmod isfinite isinf isnan kron log log10 log1p log2 logaddexp round sign sin sinh sqrt
square tan tanh trunc imag real nan_to_num logical_xor remainder hypot copysign acosh arccosh asinh
arcsinh atanh arctanh heaviside sinc signbit positive deg2rad rad2deg gcd lcm fmin fmax nextafter
isposinf isneginf isreal logaddexp2 float_power vdot bitwise_xor bitwise_left_shift
bitwise_right_shift atleast_1d atleast_2d atleast_3d frexp
"""
