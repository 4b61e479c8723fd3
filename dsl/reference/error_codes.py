"""The long form of every code that an error or warning can carry."""

CODES: dict[str, str] = {
    "unreadable-spec": """The file does not exist, cannot be opened, or is not text in UTF-8. A spec
        is one TOML file.""",
    "toml-syntax": """The file is not valid TOML, so nothing else could be checked. The parser
        stopped at the line shown; the mistake is there or just before. Frequent mistakes: a string
        without quotes, a key that appears twice in one table, a bracket that is not closed.""",
    "unknown-version": """`ddspec = 1` at the top is the version of the language in which a spec is
        written. The defaults of a version never change, so a spec keeps its meaning.""",
    "unknown-key": """Nothing reads this key, so it cannot have the intended effect. A key is never
        ignored. The hint names the nearest key, or all keys of the table.""",
    "misplaced-key": """The key exists, but in another table, or with another choice in this one:
        `rho` belongs to optimizer.name = "gsam" and to no other optimiser. In TOML a key belongs to
        the last [table] header above it; keys of the top level come before the first header.""",
    "renamed-key": """This is the key's name in the public code of the field; the hint gives its
        name here. Misleading names were changed: `lr_teacher` is not the teacher's learning rate
        but the student's initial one.""",
    "missing-key": """This key has no default, because no value would be right for most specs.""",
    "wrong-type": """The value has another type than the key takes. TOML distinguishes strings
        ("5"), whole numbers (5), numbers (5.0), true and false, lists and tables. A whole number is
        accepted for a number; nothing else is converted.""",
    "out-of-range": """The value has the right type, but the key cannot take it.""",
    "unknown-name": """The key chooses from a fixed set of names, and this is not one of them.""",
    "extension-missing": """A name with an owner, such as mylab/lp, is a part of an extension: an
        installed package that adds matching losses, objectives or networks to the language. The
        package is not installed here, has no such part, cannot be imported, or is another version
        than the spec asks for. Without it the spec can neither be checked nor run; its reports can
        be read.""",
    "bad-override": """`--set` takes table.key=value. The value is read as TOML or, if it is not
        TOML, as a string. The result is checked like the file itself. For a swept key it
        replaces the list; keys that a sweep changes together cannot be set alone.""",
    "bad-sweep": """[sweep] holds axes: "table.key" = [values] for a key, [[sweep.together]] for
        keys whose lists advance together, [[sweep.cases]] for named changes, which may inherit
        those of another case. Dotted keys are written in quotes. Every combination of one entry per
        axis is checked like a single spec.""",
    "empty-start-range": """Start epochs t are drawn with min_start_epoch <= t < max_start_epoch
        (exclusive above, as in all public code of trajectory matching). No epoch satisfies both
        conditions.""",
    "expert-window-too-long": """A window starts at epoch t < max_start_epoch and ends expert_epochs
        later. The latest one, from max_start_epoch - 1, must end at or before the experts' last
        epoch: max_start_epoch - 1 + expert_epochs <= experts.epochs.""",
    "fractional-expert-epochs": """A trajectory of type "sgd" consists of snapshots after whole
        epochs. Only a line (type "convex") or a curve ("bezier") has points between whole
        epochs.""",
    "convex-start-past-end": """On a line or a curve in place of the trajectory, starts lie in
        [min_start_epoch, max_start_epoch); targets past the end are moved to the end, but from a
        start there nothing is left to travel.""",
    "no-lr-to-evaluate-with": """Trajectory matching learns student_lr together with the images, and
        evaluation networks are trained with it. The other objectives learn no
        learning rate, so that of their evaluation is a key: evaluation.lr.""",
    "labels-of-imported-set": """synthetic.init = { name = "imported", set = ... } begins from a set
        that was made elsewhere, and its labels stay as they are: class numbers or probabilities.
        Labels of experts would belong to other images.""",
    "lr-given-and-searched": """evaluation.lr is the learning rate of the networks;
        evaluation.lr_search is a list of rates, of which the best on held-out images is used. A
        spec has one of them.""",
    "lr-search-without-validation": """A learning rate that is chosen on the test set makes the
        accuracy too high, so evaluation.lr_search reads the images that dataset.validation holds
        out of the training set. The protocol dd_ranking searches unless evaluation.lr is given.""",
    "student-lr-of-trajectories": """synthetic.student_lr belongs to trajectory matching, which
        learns it. Other objectives train their networks, if at all, with matching.student.lr or
        matching.student_lr, and are evaluated with evaluation.lr.""",
    "labels-of-trajectories": """Gradient, distribution and feature matching compare the real images
        of a class with its synthetic images. Soft labels would give an image to several
        classes. Labels of experts are those of a target on a trajectory, which only trajectory
        matching has.""",
    "labels-of-a-regression": """Kernel regression (FRePo) learns the targets of a ridge regression:
        any numbers, one per class. The other objectives teach networks by cross-entropy, which such
        targets do not fit.""",
    "protocol-of-a-regression": """Targets of a regression are taught by the squared error, as
        protocol "frepo" does. The other protocols reduce the cross-entropy, which needs classes
        or weights of classes.""",
    "trajectory-not-matched": """[trajectory] says how trajectories of experts are matched. The
        other objectives match none.""",
    "siamese-without-real-images": """augmentation.siamese gives real and synthetic images one draw,
        as DSA and DM do when they compare them. In trajectory matching no real image is compared,
        and RaT-BPTT takes a loss on real images alone.""",
    "free-steps-out-of-order": """The number of free steps is drawn from `least` to `most`, both
        included.""",
    "one-gradient-limit": """matching.gradient_limit has either `norm`, a number, or `over_mean`, a
        multiple of the moving average of the norms so far.""",
    "feature-needs-convnet": """CAFE defines its layers for the ConvNet: the output of each block
        before its pooling, and the last pooling.""",
    "layer-weights-count": """matching.layer_weights has one number per layer, shallow to deep: the
        output of each block of the ConvNet before its pooling, then the last pooling.""",
    "window-above-bound": """A dynamic schedule decides when it has seen `window` accuracies. A
        bound below that would end every phase before its first decision.""",
    "momentum-without-sgd": """synthetic.images.momentum is the momentum of SGD. Adam has beta1 and
        beta2 in their place.""",
    "decay-not-rising": """synthetic.images.lr_decay.iterations lists the drops in the order in
        which they happen.""",
    "lr-of-trajectory-matching": """The default of synthetic.images.lr is MTT's. The losses of other
        objectives have other scales: DC, DSA and CAFE use 0.1, DM 1 (10 from 100 images per
        class), RaT-BPTT 0.001 with Adam.""",
    "batch-larger-than-synthetic-set": """A student step takes batch_syn distinct images of the
        synthetic set, which contains ipc x classes images, or syn_per_class of the ipc images of
        each class.""",
    "parts-not-equal": """synthetic.partition = f cuts every stored image into f x f small ones of
        equal size, which are enlarged before networks see them.""",
    "soft-labels-of-parts": """synthetic.partition makes several images of each stored one, all of
        its class. A soft label describes one image.""",
    "network-too-deep": """Each block with pooling halves the image; at least one pixel must
        remain.""",
    "same-statistics": """The public code of trajectory matching normalises CIFAR-100 by the means
        and standard deviations of CIFAR-10. dataset.statistics = "public_code" repeats that; for
        other datasets, or with whitening, it would change nothing.""",
    "image-too-small": """Networks other than the ConvNet have the fixed form that the field uses,
        which halves images a fixed number of times. The last map must have at least one pixel, and
        more than one if instance norm follows.""",
    "width-not-divisible": """Group norm normalises groups of channels together; the field's code
        has four of them.""",
    "more-images-than-class-has": """Real images are drawn without repetition, for initialisation
        and for the random baseline of every result.""",
    "folder-without-root": """The dataset "folder" is a folder of images of your own:
        root/train/CLASS/FILE and root/test/CLASS/FILE (or zip files with the same members) below
        the data folder.""",
    "key-of-extension": """The version and the hash of the code identify the reader of a dataset of
        an installed extension, such as mylab/stripes. The other datasets have no such reader.""",
    "key-of-folder": """Only the dataset "folder" takes a root, the colours of its images, a share
        to test on and the background of transparent images. The other datasets are found by their
        name, and these properties are known.""",
    "fit-without-resolution": """dataset.fit says how images that are not square are made square if
        dataset.resolution asks for a size.""",
    "unknown-class": """dataset.classes names classes of the dataset, each once, in the order of
        their labels.""",
    "incomplete-dataset": """The data folder holds only a part of the dataset. Without some classes
        it is another problem, which a spec must ask for explicitly; without some images the run
        continues and says so.""",
    "constant-images": """Every pixel of every training image has the same value, so that no network
        can tell the classes apart. Such images come from masks that were never multiplied, from
        values of 0 and 1 in files whose pixels reach 255, or from a failed conversion.""",
    "other-split": """The data folder holds the dataset with more images, or with another split into
        training and test images, than the literature uses. fastai's Imagenette and ImageWoof, for
        example, test on images that others train on. The run continues, but published accuracies
        are those of another problem.""",
    "nothing-held-out": """evaluation.choose = "validation" selects the iterate that is best on
        images that neither the experts nor the synthetic set have seen; dataset.validation holds
        them out of the training images.""",
    "expert-with-statistics": """A trajectory is a sequence of parameter vectors, and matching goes
        from one to another. Batch norm keeps running means and variances beside its parameters,
        which are not part of the parameter vector. To test a synthetic set with batch norm,
        evaluate with such a network.""",
    "root-escapes": """A spec is shared, so it must not name paths outside the data folder of the
        person who runs it: no absolute path, no "..", no characters with a meaning to a shell or an
        archive.""",
    "expectation-over-no-sweep": """The rows of DC, DSA, DM and CAFE are means over the networks of
        several synthetic sets. expect.over = "sweep" compares such a number with all runs of a
        sweep over `seed` together; a single run says nothing about it.""",
    "expectation-not-evaluated": """An [[expect]] table is compared with the accuracy of its
        network, so that network must be evaluated.""",
    "network-named-twice": """Every network of evaluation.networks is trained evaluation.repeats
        times; its results are kept under its name, so each name may appear only once.""",
    "too-many-evaluations": """After every `evaluation.every` iterations the synthetic set is kept
        and fresh networks are trained on it, which costs more than the iterations in between.""",
    "decay-after-the-end": """The learning rate would drop at or after the last epoch, so it never
        drops.""",
    "more-waypoints-than-epochs": """Waypoints are snapshots after whole epochs, and experts of K
        epochs have K + 1 of them.""",
    "smoothing-needs-neighbours": """Neighbour smoothing stores the mean of the snapshots around a
        waypoint, and the mean of the last two for the last. With one epoch that would be the mean
        of start and end.""",
    "lambda-without-epoch": """sampling = "uniform_lambda" draws a position on the line and looks up
        its epoch; the target is expert_epochs later. That needs one position per epoch, in the
        order of the epochs.""",
    "convex-has-no-snapshots": """A convexified trajectory is stored as its waypoints, a Bezier
        curve as its ends and its control point; between them lies a line or a curve, not the
        networks that the expert passed through. Anything that uses single snapshots needs
        trajectory.type = "sgd".""",
    "no-such-expert": """Initialisation and labels can use trained experts. Experts are numbered
        from 0 to experts.count - 1, and those that are used are trained to their last epoch.""",
    "imported-and-trained": """`experts.imported` names experts that were trained elsewhere, by
        other code. How that was done is not known, so keys about training experts have no meaning
        with it; only `count` and `epochs` apply: how many experts are used, and how many of their
        epochs.""",
    "more-clusters-than-images": """Representative initialisation (AST) chooses the real images
        nearest to the centres of k-means, so there can be no more centres than images per
        class.""",
    "fractional-intermediate": """Intermediate matching (AST) compares the student with the expert
        after each whole epoch of the window, so the window must be a whole number of epochs
        long.""",
    "more-epochs-than-steps": """Intermediate matching (AST) compares the student after floor(i N /
        M) steps with the expert i epochs after the start. With more epochs M than student steps N,
        some epoch is compared with step 0, where the student has not moved.""",
    "drop-without-epoch": """experts.data_order (PAD) leaves out easy images in steps: the first of
        drop_shares from the first of drop_from_epochs on, until the second takes its place. The
        lists are equally long, the epochs rise, and none comes before the first epoch with all
        images.""",
    "nearest-with-intermediate": """matched_step = "nearest" (ATT) matches at the step that came
        nearest to the target, and the gradient starts there; intermediate matching needs fixed
        steps, which may come later.""",
    "bound-does-not-grow": """start_range = { name = "growing" } (DATM) first draws starts below
        first_bound and finally below max_start_epoch; there must be at least one start epoch from
        the first iteration on.""",
    "soft-labels-of-noise": """labels = "expert" and labels = "learned" start from the softmax of
        trained experts on the initial images. For real images that is close to their class; for
        noise it is meaningless.""",
    "bound-stops-growing": """start_range = { name = "growing" } (DATM) reaches max_start_epoch
        after its own number of iterations; experts are trained up to it, although no start reaches
        it.""",
    "every-target-is-the-end": """A target past the end of a line or a curve in place of the
        trajectory is moved to the end. If the window is as long as the whole, that happens for
        every start.""",
    "clipped-to-the-end": """The clipped loss of AST has less than full weight in the first epochs
        only.""",
}
"""Every code that a diagnostic can carry."""
