"""What StyleGAN2-ADA and StyleGAN3 compile when they are first used (NVlabs, ``torch_utils/ops``).

``from torch_utils.ops import bias_act, upfirdn2d`` becomes ``from ganops.compat.stylegan import bias_act, upfirdn2d``.
The same holds for ``filtered_lrelu``.
"""

from ganops.compat.stylegan import bias_act, filtered_lrelu, upfirdn2d

__all__ = ["bias_act", "filtered_lrelu", "upfirdn2d"]
