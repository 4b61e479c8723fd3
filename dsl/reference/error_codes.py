"""The long form of every code that an error or warning can carry."""

CODES: dict[str, str] = {
    "unreadable-spec": """
        The file is not there, cannot be opened, or is not text in UTF-8. A spec is one TOML
        file.""",
    "toml-syntax": """
        The file is no TOML, so nothing else could be checked. The place is where the parser gave
        up; the mistake is there or just before. Frequent ones: a text without quotes, a key that
        stands twice in one table, a bracket that is not closed.""",
    "unknown-version": """
        `ddspec = 1` at the top says for which version of the language a spec was written. The
        defaults of a version never change, so that a spec means the same for ever.""",
    "unknown-key": """
        Nothing reads this key, so it cannot have the effect that its author had in mind. A key
        is never ignored. The hint names the nearest key, or all keys of the table.""",
    "misplaced-key": """
        The key exists, but in another table, or with another choice of this one: `rho` belongs to
        optimizer.name = "gsam" and to no other optimiser. In TOML a key belongs to the last [table]
        header above it; keys of the top level stand before the first header.""",
    "renamed-key": """
        The public code of the field calls it so; here it has the name of the hint. Names that
        misled were changed: `lr_teacher` is not the teacher's rate but the student's first one.""",
    "missing-key": """
        This key has no default, because no value would be right for most specs.""",
    "wrong-type": """
        The value is of another type than the key takes. TOML tells texts ("5"), whole numbers
        (5), numbers (5.0), true and false, lists and tables apart; a whole number may stand where
        a number is asked for, nothing else is converted.""",
    "out-of-range": """
        The value is of the right type but no value that the key can take.""",
    "unknown-name": """
        The key chooses from a fixed set of names, and this is none of them.""",
    "bad-override": """
        `--set` takes table.key=value; the value is read as TOML, and as a text where it is none.
        The result is checked like the file itself.""",
    "bad-sweep": """
        [sweep] holds axes: "table.key" = [values] for a key, [[sweep.together]] for keys whose
        lists go side by side, [[sweep.cases]] for named changes, of which one may come after
        another and begin with its changes. Keys of tables stand in quotes. Every combination of
        one entry per axis is checked like a spec of its own.""",
    "empty-start-range": """
        Start epochs t are drawn with min_start_epoch <= t < max_start_epoch (exclusive above, as
        in all public code of trajectory matching). No epoch satisfies both.""",
    "expert-window-too-long": """
        A window starts at epoch t < max_start_epoch and ends expert_epochs later. The latest one,
        from max_start_epoch - 1, must end at or before the experts' last epoch:
        max_start_epoch - 1 + expert_epochs <= experts.epochs.""",
    "fractional-expert-epochs": """
        A trajectory of type "sgd" consists of snapshots after whole epochs. Only a convex
        trajectory, which is a line, has a point half an epoch ahead.""",
    "convex-start-past-end": """
        With a convex trajectory, starts lie in [min_start_epoch, max_start_epoch); targets past the
        end are taken at the end, but a start there would have no way to go.""",
    "batch-larger-than-synthetic-set": """
        A student step takes batch_syn distinct images of the synthetic set, which has
        ipc x classes of them.""",
    "network-too-deep": """
        Each block with pooling halves the image; at least one pixel must remain.""",
    "same-statistics": """
        The public code of trajectory matching normalises CIFAR-100 by the means and standard
        deviations of CIFAR-10. dataset.statistics = "public_code" repeats that; elsewhere, or
        with whitening, it would change nothing.""",
    "image-too-small": """
        Networks other than the ConvNet come in the one form that the field uses, which halves
        images a fixed number of times; the last map must have a pixel, and more than one where
        instance norm follows.""",
    "width-not-divisible": """
        Group norm normalises groups of channels together; the field's code has four of them.""",
    "more-images-than-class-has": """
        Real images are drawn without repetition, for initialisation and for the random baseline
        that stands beside every result.""",
    "folder-without-root": """
        The dataset "folder" is a folder of images of your own: root/train/CLASS/FILE and
        root/test/CLASS/FILE (or zip files with the same members) below the data folder.""",
    "key-of-folder": """
        Only the dataset "folder" takes a root, says which colours its images have and what lies
        behind transparent ones; the others are found by their name and known.""",
    "fit-without-resolution": """
        dataset.fit says how images that are not square become so where dataset.resolution asks for
        a size.""",
    "unknown-class": """
        dataset.classes names classes of the dataset, each once, in the order that their labels are
        to have.""",
    "incomplete-dataset": """
        The images in the data folder are a part of what the dataset is known to have. With classes
        missing it is another problem, which a spec has to ask for in so many words; with images
        missing the run goes on, and says so.""",
    "nothing-held-out": """
        evaluation.choose = "validation" takes the iterate that is best on images that neither
        experts nor the synthetic set have seen; dataset.validation holds them out of the training
        images.""",
    "expert-with-statistics": """
        A trajectory is a sequence of parameter vectors, and matching goes from one to another.
        Batch norm keeps running means and variances beside its parameters, which no vector of
        parameters holds. To see how a synthetic set does with batch norm, evaluate with it.""",
    "root-escapes": """
        A spec is shared, so it may not name places outside the data folder of whoever runs it:
        no absolute path, no "..", no characters with a meaning to a shell or an archive.""",
    "expectation-not-evaluated": """
        An [[expect]] table is compared with the accuracy of its network, so that network must
        be evaluated.""",
    "network-named-twice": """
        Every network of evaluation.networks is trained evaluation.repeats times; its results
        are kept under its name, so the name stands once.""",
    "too-many-evaluations": """
        After every so many iterations the synthetic set is kept and fresh networks are trained
        on it, which costs more than the iterations between.""",
    "decay-after-the-end": """
        The drop of the learning rate lies at or after the last epoch and so never happens.""",
    "more-waypoints-than-epochs": """
        Waypoints are snapshots after whole epochs, and experts of K epochs have K + 1 of them.""",
    "smoothing-needs-neighbours": """
        Neighbour smoothing stores the mean of the snapshots around a waypoint, and the mean of the
        last two for the last. With one epoch that would be the mean of start and end.""",
    "lambda-without-epoch": """
        sampling = "uniform_lambda" draws a place on the line and asks which epoch lies there; the
        target then lies expert_epochs later. That needs one place per epoch, in their order.""",
    "convex-has-no-snapshots": """
        A convexified trajectory is stored as its waypoints; what lies between is a straight line
        and none of the networks that the expert went through. Whatever looks at single snapshots
        needs trajectory.type = "sgd".""",
    "no-such-expert": """
        Initialisation and labels can ask trained experts. They are counted from 0, there are
        experts.count of them, and those that are asked are trained to their last epoch.""",
    "imported-and-trained": """
        `experts.imported` names experts that were trained elsewhere, by other code. How that was
        done is not known, so keys that say how experts are trained here have no meaning beside
        it; only `count` and `epochs` say how many of them are used, and how far.""",
    "more-clusters-than-images": """
        Representative initialisation (AST) takes the real images nearest to the centres of k-means,
        so there can be no more centres than images per class.""",
    "fractional-intermediate": """
        Intermediate matching (AST) compares the student with the expert after each whole epoch of
        the window, so the window is a whole number of epochs long.""",
    "more-epochs-than-steps": """
        Intermediate matching (AST) compares the student after floor(i N / M) steps with the expert
        i epochs on. With more epochs M than student steps N some epoch falls on step 0, where the
        student has not moved.""",
    "nearest-with-intermediate": """
        matched_step = "nearest" (ATT) matches at the step that came nearest to the target, and
        the gradient begins there; intermediate matching asks for fixed steps, which may lie
        later.""",
    "bound-does-not-grow": """
        start_range = { name = "growing" } (DATM) begins with starts below first_bound and ends with
        starts below max_start_epoch; there must be at least one start epoch from the beginning.""",
    "soft-labels-of-noise": """
        labels = "expert" and labels "learned" begin at the softmax of trained experts on the first
        images. For real images that is near their class, for noise it means nothing.""",
    "bound-stops-growing": """
        start_range = { name = "growing" } (DATM) reaches max_start_epoch after its own number of
        iterations; experts are trained up to it, although no start reaches it.""",
    "every-target-is-the-end": """
        A target past the end of a convexified trajectory is taken at its end. With a window as long
        as the trajectory that is so for every start.""",
    "clipped-to-the-end": """
        The clipped loss of AST has less than its full weight in the first epochs only.""",
}
"""Every code that a diagnostic can carry."""
