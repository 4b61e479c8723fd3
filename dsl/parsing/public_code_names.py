"""Names of the public code, and the keys that replace them here.

They come from the argument parsers of MTT, FTD, TESLA, DATM, MCT, AST, PAD and RaT-BPTT.
"""

ALIASES: dict[str, str] = {
    "lr_teacher": "synthetic.student_lr.init",
    "syn_lr": "synthetic.student_lr.init",
    "lr_lr": "synthetic.student_lr.lr",
    "lr_img": "synthetic.images.lr",
    "mom_img": "synthetic.images.momentum",
    "pix_init": "synthetic.init",
    "Iteration": "matching.iterations",
    "iteration": "matching.iterations",
    "eval_it": "evaluation.every",
    "num_eval": "evaluation.repeats",
    "epoch_eval_train": "evaluation.epochs",
    "eval_mode": "evaluation.networks",
    "num_experts": "experts.count",
    "train_epochs": "experts.epochs",
    "batch_train": "experts.batch_size",
    "batch_real": "experts.batch_size",
    "lr_net": "experts.optimizer.lr",
    "mom": "experts.optimizer.momentum",
    "l2": "experts.optimizer.weight_decay",
    "model": "network.name",
    "dsa_strategy": "augmentation.families",
    "num_interpolation": "trajectory.waypoints",
    "images_per_class": "synthetic.ipc",
    "start_epoch": "matching.min_start_epoch",
    "student_steps": "matching.syn_steps",
    "lr_y": "synthetic.labels.lr",
    "momentum_y": "synthetic.labels.momentum",
    "ema_decay": "synthetic.images.moving_average",
    "threshold": "matching.loss_limit",
    "current_max_start_epoch": "matching.start_range.first_bound",
    "expansion_end_epoch": "matching.start_range.iterations",
    "rho_max": "experts.optimizer.rho",
    "rho_min": "experts.optimizer.rho",
    "init_ratio": "experts.data_order.first_share",
    "add_end_epoch": "experts.data_order.all_from_epoch",
    "rm_epoch_first": "experts.data_order.drop_from_epochs",
    "rm_epoch_second": "experts.data_order.drop_from_epochs",
    "rm_easy_ratio_first": "experts.data_order.drop_shares",
    "rm_easy_ratio_second": "experts.data_order.drop_shares",
    "sort_method": "experts.data_order.score",
    "depth_ratio": "matching.parameters.drop",
    "loss_ratio": "matching.parameters.drop",
    "inner_lr": "matching.student_lr",
    "inner_optim": "matching.student_optimizer",
    "batch_per_class": "matching.syn_per_class",
    "num_per_class": "synthetic.ipc",
    "gp": "experts.smoothing.gradient_penalty",
    "middle_loss": "matching.intermediate",
}
"""Name in the public code -> path of the key here."""

UNREAD: dict[str, str] = {"lr_init": "synthetic.student_lr.init"}
"""Flags that the public code accepts and never reads, and the key that their authors meant."""
